//! The functions `verdict` and `rule`.

use crate::policy;
use datafusion::arrow::array::{Array, AsArray, StructArray};
use datafusion::arrow::array::{ArrayRef, StringBuilder};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, exec_datafusion_err, plan_datafusion_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use ringwarden_records::{Judge, Judged, Words};
use std::collections::HashMap;
use std::sync::Arc;

/// The functions, to be registered with sessions and executors.
pub fn functions() -> Vec<ScalarUDF> {
    [Answer::Verdict, Answer::Rule].map(|answer| ScalarUDF::from(Function::new(answer))).to_vec()
}

/// What a function says about requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Answer {
    Verdict,
    Rule,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Function {
    answer: Answer,
    signature: Signature,
}

impl Function {
    fn new(answer: Answer) -> Self {
        // The policies are read once, when the query is planned.
        Self { answer, signature: Signature::any(2, Volatility::Immutable) }
    }

    fn answers(&self, judge: &Judge, requests: &StructArray) -> Result<ArrayRef, String> {
        let words = Words::new(requests.len(), |name| requests.column_by_name(name))?;
        let complete = requests.column_by_name("complete").and_then(|array| array.as_boolean_opt());
        let complete = complete.ok_or("the context lacks `complete`")?;
        let mut verdicts = Vec::new();
        judge.judge(&words, |row| complete.is_valid(row) && complete.value(row), &mut verdicts);
        let mut answers = StringBuilder::new();
        let mut rules: HashMap<(u8, Judged), Option<String>> = HashMap::new();
        for (row, &judged) in verdicts.iter().enumerate() {
            match (self.answer, judged) {
                (Answer::Verdict, Judged::Allow) => answers.append_value("allow"),
                (Answer::Verdict, Judged::Undecided) => answers.append_value("undecided"),
                (Answer::Verdict, _) => answers.append_value("deny"),
                (Answer::Rule, Judged::Allow | Judged::Undecided) => answers.append_null(),
                (Answer::Rule, _) => {
                    let context = words.context(row);
                    let opcode = context[2].to_ne_bytes()[0];
                    if judge.needs_words(judged) {
                        answers.append_option(judge.rule(opcode, judged, Some(&context)));
                    } else {
                        let rule = rules.entry((opcode, judged));
                        answers
                            .append_option(rule.or_insert_with(|| judge.rule(opcode, judged, None)).as_ref());
                    }
                }
            }
        }
        Ok(Arc::new(answers.finish()))
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        match self.answer {
            Answer::Verdict => "verdict",
            Answer::Rule => "rule",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, DataType::Struct(_)] => {
                Ok(DataType::Utf8)
            }
            _ => plan_err!("{0} takes a policy and the context: {0}('new.toml', context)", self.name()),
        }
    }

    fn simplify(&self, mut arguments: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        if let [Expr::Literal(policy, _), _] = &arguments[..]
            && let Some(Some(name)) = policy.try_as_str()
        {
            let text = policy::text(name).map_err(|error| plan_datafusion_err!("{error}"))?;
            if text != *name {
                arguments[0] = lit(text);
                let function = Arc::new(ScalarUDF::from(self.clone()));
                return Ok(ExprSimplifyResult::Simplified(function.call(arguments)));
            }
        }
        Ok(ExprSimplifyResult::Original(arguments))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let wrong = || {
            exec_datafusion_err!("{0} takes a policy and the context: {0}('new.toml', context)", self.name())
        };
        let [policy, requests] = &arguments.args[..] else { return Err(wrong()) };
        let ColumnarValue::Scalar(policy) = policy else {
            return Err(exec_datafusion_err!("the policy of {} must be the same for all rows", self.name()));
        };
        let policy = policy.try_as_str().flatten().ok_or_else(wrong)?;
        let judge = policy::judge(policy).map_err(|error| exec_datafusion_err!("{error}"))?;
        let requests = requests.to_array(arguments.number_rows)?;
        let requests = requests.as_struct_opt().ok_or_else(wrong)?;
        let answers = self.answers(&judge, requests).map_err(|error| exec_datafusion_err!("{error}"))?;
        if arguments.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)))
            && answers.len() == 1
        {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&answers, 0)?));
        }
        Ok(ColumnarValue::Array(answers))
    }
}
