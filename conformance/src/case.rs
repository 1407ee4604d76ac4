//! Cases of every kind, as lists of checks.

use crate::{
    Action, ArithmeticCase, ContextCase, DescriptorCase, Expect, Kernels, Machine, PayloadAttempt,
    PayloadCase, Place, ProgramCase, Res, ScriptCase, Step, StructCase, Target, USER_DATA, Verdict,
};
use ringwarden_uapi::ring::SetupFlags;
use ringwarden_uapi::{Errno, KernelModel};
use std::borrow::Cow;

/// A case of one kind or another.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the kinds say it")]
pub enum Case<'table> {
    Script(&'table ScriptCase),
    Context(&'table ContextCase),
    Struct(&'table StructCase),
    Payload(&'table PayloadCase),
    Descriptor(&'table DescriptorCase),
    Program(&'table ProgramCase),
    Arithmetic(&'table ArithmeticCase),
}

/// One thing that a case says.
#[derive(Clone, Debug)]
pub struct Check {
    /// What is done, or looked at.
    pub what: String,
    /// What comes of it.
    pub expect: Expect,
}

impl Check {
    fn new(what: impl Into<String>, expect: Expect) -> Self {
        Self { what: what.into(), expect }
    }
}

impl Case<'_> {
    /// What it shows. No two cases of a table have the same name.
    pub fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Script(case) => Cow::Borrowed(&case.name),
            Self::Context(case) => Cow::Borrowed(&case.name),
            Self::Struct(case) => Cow::Borrowed(&case.name),
            Self::Descriptor(case) => Cow::Borrowed(&case.name),
            Self::Program(case) => Cow::Borrowed(&case.name),
            Self::Arithmetic(case) => Cow::Borrowed(&case.name),
            Self::Payload(case) => Cow::Owned(case.name()),
        }
    }

    /// The kernels it is about.
    pub fn kernels(&self) -> Kernels {
        match self {
            Self::Script(case) => case.kernels,
            Self::Context(case) => case.kernels,
            Self::Struct(case) => case.kernels,
            Self::Payload(case) => case.kernels,
            Self::Descriptor(case) => case.kernels,
            Self::Program(case) => case.kernels,
            Self::Arithmetic(case) => case.kernels,
        }
    }

    /// What it says of that kernel, in the order in which it is acted out. `None` is a kernel that
    /// knows no filters: registrations fail there, and a script ends with the first.
    pub fn checks(&self, model: Option<KernelModel>) -> Vec<Check> {
        match (self, model) {
            (Self::Script(case), model) => script(case, model),
            (Self::Context(case), Some(_)) => context(case),
            (Self::Struct(case), model) => structs(case, model),
            (Self::Payload(case), model) => payload(case, model),
            (Self::Descriptor(case), model) => descriptor(case, model),
            (Self::Program(case), model) => program(case, model),
            (Self::Arithmetic(case), Some(_)) => arithmetic(case),
            (Self::Context(_) | Self::Arithmetic(_), None) => Vec::new(),
        }
    }
}

impl Step {
    /// Whether it does what kernels without filters (Linux 6.18 and before) do not know: a filter, a task
    /// that restricts itself, a ring of SQEs of both sizes.
    pub fn needs_filters(&self) -> bool {
        match &self.action {
            Action::Filter { .. } | Action::Restrict { target: Target::Task, .. } => true,
            Action::Ring { setup, .. } => setup.contains(SetupFlags::SQE_MIXED),
            _ => false,
        }
    }
}

fn script(case: &ScriptCase, model: Option<KernelModel>) -> Vec<Check> {
    let mut checks = Vec::new();
    for step in &case.steps {
        if model.is_none() && step.needs_filters() {
            checks.push(Check::new(&step.text, Expect::returns(Res::Unknown)));
            break;
        }
        checks.push(Check::new(&step.text, step.expect(model.unwrap_or_default()).clone()));
    }
    checks
}

fn context(case: &ContextCase) -> Vec<Check> {
    let word = |(index, &word)| Check::new(format!("word {}", 4 * index), Expect::returns(Res::Word(word)));
    case.words.iter().enumerate().map(word).collect()
}

/// What registering gives; if it succeeds, a NOP that is judged then, too.
fn registered(result: Res, then: Res, user_data: u64) -> Expect {
    let cqes = (result == Res::Value(0)).then(|| vec![(user_data, then)]);
    Expect { returns: result, cqes }
}

/// What a NOP gives after a filter that denies it was registered with that result.
fn nop_after(result: Res) -> Res {
    Res::Value(if result == Res::Value(0) { Errno::EACCES.negated() } else { 0 })
}

fn structs(case: &StructCase, model: Option<KernelModel>) -> Vec<Check> {
    let (result, size) = match model {
        Some(_) => (case.result, case.pdu_size),
        None => (Res::Unknown, case.own_pdu_size()),
    };
    let check = |place, what: &str, returns| Check::new(format!("{what}, {place}"), Expect::returns(returns));
    let checks = Place::ALL.map(|place| {
        [
            check(place, "register", result),
            check(place, "the payload size stored", Res::Value(size.into())),
            check(place, "NOP then", nop_after(result)),
        ]
    });
    checks.into_iter().flatten().collect()
}

fn payload(case: &PayloadCase, model: Option<KernelModel>) -> Vec<Check> {
    let checks = |attempt: PayloadAttempt| {
        let (result, size) = match model {
            Some(_) if attempt.fits => (Res::Value(0), case.size),
            Some(_) => (Res::Value(Errno::EMSGSIZE.negated()), case.size),
            None => (Res::Unknown, attempt.size),
        };
        let stored = Check::new(format!("{attempt}: size stored"), Expect::returns(Res::Value(size.into())));
        [Check::new(attempt.to_string(), Expect::returns(result)), stored]
    };
    case.attempts().flat_map(checks).collect()
}

fn descriptor(case: &DescriptorCase, model: Option<KernelModel>) -> Vec<Check> {
    let result = model.map_or(Res::Unknown, |_| case.result);
    let checks = [("register", result), ("NOP then", nop_after(result))];
    checks.map(|(what, res)| Check::new(what, Expect::returns(res))).into()
}

fn program(case: &ProgramCase, model: Option<KernelModel>) -> Vec<Check> {
    let expect = |place| {
        // The patch as posted has filters of rings alone.
        let knows = |model: &KernelModel| place == Place::Ring || model.facts().task_filters;
        let (result, then) = match model.filter(knows).map(|model| case.verdict(model)) {
            Some(Verdict::Allows) => (Res::Value(0), Res::Value(0)),
            Some(Verdict::Denies) => (Res::Value(0), Res::Value(Errno::EACCES.negated())),
            Some(Verdict::Refused) => (Res::Value(Errno::EINVAL.negated()), Res::Value(0)),
            None => (Res::Unknown, Res::Value(0)),
        };
        registered(result, then, USER_DATA)
    };
    let check = |text: &String| {
        Place::ALL.map(|place| Check::new(format!("{}, {place}", text.replace('\n', "; ")), expect(place)))
    };
    case.texts.iter().flat_map(check).collect()
}

fn arithmetic(case: &ArithmeticCase) -> Vec<Check> {
    let check = |(text, value): &(String, u32)| {
        Machine::ALL.map(|machine| {
            Check::new(format!("{}, {machine}", text.replace('\n', "; ")), Expect::returns(Res::Word(*value)))
        })
    };
    case.values.iter().flat_map(check).collect()
}
