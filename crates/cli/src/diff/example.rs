//! A request on which the two sides differ, and who decides it.

use super::side::Side;
use crate::rule::Rule;
use crate::style::{BOLD, DIM, tell};
use ringwarden::filter::Context;
use ringwarden::policy::{Field, Request};
use ringwarden::uapi::{KernelModel, Opcode};
use schemars::JsonSchema;
use serde::Serialize;

/// A request that one side allows and the other refuses.
#[derive(PartialEq, JsonSchema, Serialize)]
pub(crate) struct Example {
    /// Its fields as `explain` takes them.
    pub(crate) fields: Vec<String>,
    /// Whether those fields make exactly that request. Where not, only the context says it all.
    pub(crate) exact: bool,
    /// The words that filters load.
    pub(crate) context: Vec<String>,
    /// The rules of OLD that decide it.
    pub(crate) old: Vec<Rule>,
    /// The rules of NEW that decide it.
    pub(crate) new: Vec<Rule>,
}

impl Example {
    pub(super) fn new(model: KernelModel, context: &Context, old: &Side, new: &Side) -> Self {
        let (fields, exact) = described(model, context);
        let rules = |side: &Side| side.decide(context).iter().map(Rule::new).collect();
        Self {
            exact,
            fields,
            context: context.words().iter().map(|word| format!("{word:#x}")).collect(),
            old: rules(old),
            new: rules(new),
        }
    }

    /// Whether the same can be said of a request of another operation.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        // The context of one is never that of another.
        let exact = self.exact && other.exact;
        exact && self.fields == other.fields && self.old == other.old && self.new == other.new
    }

    /// Prints the request after `heading`, and below it what each side makes of it.
    pub(super) fn print(&self, heading: &str, operation: &str, [old, new]: [&str; 2]) {
        let fields: String = self.fields.iter().map(|field| format!(" {field}")).collect();
        tell!("  {heading}  {operation}{fields}");
        if !self.exact {
            tell!("    {DIM}context{DIM:#}  {}", self.context.join(" "));
        }
        self.old.iter().for_each(|rule| print(rule, "old", old));
        self.new.iter().for_each(|rule| print(rule, "new", new));
    }
}

/// A request as `explain` takes it, and whether those fields make exactly that request.
pub(crate) fn described(model: KernelModel, context: &Context) -> (Vec<String>, bool) {
    let (opcode, words) = (context.opcode(), context.words());
    let makes_it = |fields: &Vec<String>| {
        let request = Request::parse(opcode, fields).ok();
        let shown = request.and_then(|request| request.context(model).ok());
        shown.is_some_and(|shown| shown.words() == words)
    };
    // Some flags come with the operation: they go without saying.
    let short = fields(model, opcode, words, |field| field.name != "sqe_flags");
    if makes_it(&short) {
        return (short, true);
    }
    let all = fields(model, opcode, words, |_| true);
    let exact = makes_it(&all);
    (all, exact)
}

/// The fields of a request that are not 0, which is what they are where they are not given.
fn fields(model: KernelModel, opcode: Opcode, words: &[u32], wanted: impl Fn(&Field) -> bool) -> Vec<String> {
    let fields = Field::all_of(opcode).filter(|field| field.since <= model && wanted(field));
    let values = fields.filter_map(|field| Some((field.name, field.show(words)?)));
    let given = values.filter(|(_, value)| value != "0" && value != "0o0");
    given.map(|(name, value)| format!("{name}={value}")).collect()
}

fn print(rule: &Rule, side: &str, decision: &str) {
    tell!("    {side}: {decision} by {BOLD}{}{BOLD:#} {DIM}at {}{DIM:#}", rule.rule, rule.at);
}
