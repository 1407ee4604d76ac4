//! What a profile makes of a system call, read from its JSON directly and one call at a time. It shares
//! nothing with the import.

use serde_json::Value;

/// Where the profile is in force.
pub(crate) struct Place<'a> {
    pub(crate) capabilities: &'a [&'a str],
    pub(crate) kernel: (u64, u64),
}

/// What a profile says of one system call.
pub(crate) struct Oracle<'p> {
    by_default: bool,
    rules: Vec<&'p Value>,
}

impl<'p> Oracle<'p> {
    pub(crate) fn new(profile: &'p Value, place: &Place<'_>, call: &str) -> Self {
        let default = &profile["defaultAction"];
        let default_errno = profile["defaultErrnoRet"].as_u64().unwrap_or(1);
        let repeats = |rule: &Value| {
            rule["action"] == *default
                && (default != "SCMP_ACT_ERRNO" && default != "SCMP_ACT_TRACE"
                    || rule["errnoRet"].as_u64().unwrap_or(1) == default_errno)
        };
        let rules = list(&profile["syscalls"])
            .filter(|rule| names(rule).any(|name| name == call) && !repeats(rule) && applies(rule, place));
        Self { by_default: is_allowing(default), rules: rules.collect() }
    }

    /// The rules that decide: those that apply, and differ from the default.
    pub(crate) fn rules(&self) -> &[&'p Value] {
        &self.rules
    }

    /// The conditions on arguments.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = &'p Value> {
        self.rules.iter().flat_map(|rule| list(&rule["args"]))
    }

    /// The arguments that the conditions are about.
    pub(crate) fn indices(&self) -> impl Iterator<Item = usize> {
        (0..6).filter(|&index| self.conditions().any(|arg| arg["index"].as_u64() == Some(index as u64)))
    }

    /// Whether the call is made. Where rules disagree, the one that denies counts.
    pub(crate) fn allows(&self, arguments: [u64; 6]) -> bool {
        let matching = || self.rules.iter().filter(|rule| matches(rule, arguments));
        let (mut allowing, mut denying) = (matching(), matching());
        let allowed = self.by_default || allowing.any(|rule| is_allowing(&rule["action"]));
        allowed && !denying.any(|rule| !is_allowing(&rule["action"]))
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn is_allowing(action: &Value) -> bool {
    action == "SCMP_ACT_ALLOW" || action == "SCMP_ACT_LOG"
}

fn names(rule: &Value) -> impl Iterator<Item = &Value> {
    list(&rule["names"]).chain(std::iter::once(&rule["name"]))
}

fn applies(rule: &Value, place: &Place<'_>) -> bool {
    let has = |capability: &Value| place.capabilities.contains(&capability.as_str().expect("a name"));
    let is_new = |version: &str| {
        let numbers: Vec<u64> = version.split('.').map(|number| number.parse().expect("a number")).collect();
        place.kernel >= (numbers[0], numbers[1])
    };
    let (wanted, unwanted) = (&rule["includes"], &rule["excludes"]);
    let mut arches = list(&wanted["arches"]).peekable();
    let is_here = arches.peek().is_none() || arches.any(|arch| arch == "amd64");
    is_here
        && list(&wanted["caps"]).all(has)
        && wanted["minKernel"].as_str().is_none_or(is_new)
        && !list(&unwanted["caps"]).any(has)
        && !list(&unwanted["arches"]).any(|arch| arch == "amd64")
        && !unwanted["minKernel"].as_str().is_some_and(is_new)
}

/// All conditions hold; or any, where two are about one argument.
fn matches(rule: &Value, arguments: [u64; 6]) -> bool {
    let conditions: Vec<&Value> = list(&rule["args"]).collect();
    let mut indices: Vec<_> = conditions.iter().map(|condition| condition["index"].as_u64()).collect();
    indices.sort_unstable();
    let before = indices.len();
    indices.dedup();
    match indices.len() == before {
        true => conditions.iter().all(|condition| holds(condition, arguments)),
        false => conditions.iter().any(|condition| holds(condition, arguments)),
    }
}

fn holds(condition: &Value, arguments: [u64; 6]) -> bool {
    let number = |key: &str| condition[key].as_u64().unwrap_or(0);
    let (argument, value) = (arguments[number("index") as usize], number("value"));
    match condition["op"].as_str().expect("an operator") {
        "SCMP_CMP_NE" => argument != value,
        "SCMP_CMP_LT" => argument < value,
        "SCMP_CMP_LE" => argument <= value,
        "SCMP_CMP_EQ" => argument == value,
        "SCMP_CMP_GE" => argument >= value,
        "SCMP_CMP_GT" => argument > value,
        "SCMP_CMP_MASKED_EQ" => argument & value == number("valueTwo") & value,
        other => panic!("{other}"),
    }
}
