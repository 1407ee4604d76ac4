//! What policies leave open that led to bugs before, or that makes a rule mean little.
//!
//! Whether something is open is decided for all requests at once, as assertions are: of a bug's requests a
//! policy is made, and it is looked for a request that both allow.

use crate::Enforcement;
use ringwarden_diff::{CompareError, Difference, Effort, common, compare};
use ringwarden_filter::FilterSet;
use ringwarden_policy::{
    Equivalent, Policy, Release, Rule, RuleOrigin, SETUP_FLAGS, StandsFor, SyscallEquivalent,
    VULNERABILITIES, Vulnerability, Way,
};
use ringwarden_uapi::opdef::OpTraits;
use ringwarden_uapi::ring::{SetupFlags, SqeFlags};
use ringwarden_uapi::{OPCODES, Opcode, RegisterOp};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;

/// Something that policies leave open.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exposure {
    /// How much it matters.
    pub severity: Severity,
    /// What is open.
    pub subject: Subject,
    /// The rules that leave it open, one of each layer; empty where no rule speaks of it.
    pub rules: Vec<RuleOrigin>,
    /// Why it matters, in a sentence without its full stop. Bugs are told of by themselves.
    pub reason: Option<String>,
    /// The bugs that it leads to, those that matter most first.
    pub bugs: Vec<Bug>,
    /// What to write in a policy to close it; without it, no policy can.
    pub remedy: Option<String>,
}

/// A bug, and whether the release that was asked for has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bug {
    /// The bug.
    pub vulnerability: &'static Vulnerability,
    /// The release has its fix, or is older than the bug.
    pub is_fixed: bool,
}

/// How much an [`Exposure`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Something that is good to know.
    Note,
    /// A bug that lets nobody at memory, or a rule that means little.
    Low,
    /// A bug of the kernel's memory.
    Medium,
    /// A bug of the kernel's memory that somebody has shown to be exploited.
    High,
}

impl Severity {
    /// Every severity, from the least on.
    pub const ALL: [Self; 4] = [Self::Note, Self::Low, Self::Medium, Self::High];

    /// Its name: `high`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    fn of(vulnerability: &Vulnerability) -> Self {
        match vulnerability.exploit {
            Some(_) => Self::High,
            None if vulnerability.flaw.is_of_memory() => Self::Medium,
            None => Self::Low,
        }
    }
}

/// What is left open.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// Operations that lead to the same bugs.
    Operations(Vec<Opcode>),
    /// Requests with these flags; they are open for these operations.
    Flags(SqeFlags, Vec<Opcode>),
    /// `io_uring_register` calls that lead to the same bugs.
    Registers(Vec<RegisterOp>),
    /// A flag of rings.
    Setup(SetupFlags),
    /// An operation that does the work of one that is refused or restricted.
    Equivalent {
        /// The one that is refused or restricted.
        of: Opcode,
        /// The one that is allowed.
        by: Opcode,
    },
    /// Operations and register calls that later kernels bring.
    Later,
    /// Families of addresses that an operation's rule refuses without speaking of them.
    Families(Opcode, Vec<&'static str>),
    /// Operations that rules allow, and of which no request ever passes.
    Dead(Vec<Opcode>),
    /// System calls that do the work of what is refused or restricted.
    SystemCalls(Vec<&'static str>),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flags(flags, _) => {
                let names: Vec<_> = flags.iter_names().map(|(name, _)| format!("IOSQE_{name}")).collect();
                write!(f, "requests with {}", names.join(" and "))
            }
            Self::Registers(ops) => write!(f, "register {}", listed(ops)),
            Self::Setup(flag) => write!(f, "rings with {}", setup_name(*flag)),
            Self::Equivalent { of, by } => write!(f, "{by} beside {of}"),
            Self::Later => f.write_str("what later kernels bring"),
            Self::Families(operation, _) => write!(f, "families of {operation}"),
            Self::Operations(operations) | Self::Dead(operations) => f.write_str(&listed(operations)),
            Self::SystemCalls(_) => f.write_str("system calls"),
        }
    }
}

fn setup_name(flag: SetupFlags) -> &'static str {
    SETUP_FLAGS.iter().find(|known| known.flag == flag).map_or("?", |known| known.name)
}

fn listed(names: &[impl ToString]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Enforcement {
    /// What all layers together leave open, what matters most first. Bugs that `release` does not have matter
    /// no more than a [`Severity::Note`]; without it no bug counts as fixed.
    ///
    /// # Errors
    /// [`CompareError::Unconfirmed`] should never be seen.
    pub fn exposures(&self, release: Option<Release>, effort: Effort) -> Result<Vec<Exposure>, CompareError> {
        let mut look = Look::new(self, effort);
        let mut found = look.bugs(release)?;
        found.extend(look.equivalents()?);
        found.extend(look.later());
        found.extend(look.families()?);
        found.extend(look.dead()?);
        found.extend(look.system_calls()?);
        found.sort_by_key(|one| Reverse((one.severity, one.newest())));
        Ok(found)
    }
}

impl Exposure {
    /// Whether it leads to bugs, and the release that was asked for has none of them.
    pub fn is_fixed(&self) -> bool {
        !self.bugs.is_empty() && self.bugs.iter().all(|bug| bug.is_fixed)
    }

    /// The release in which the bug that matters most was fixed.
    fn newest(&self) -> Option<Release> {
        self.bugs.first()?.vulnerability.mainline()
    }
}

impl Subject {
    /// Takes another one of its kind in, if there can be several.
    fn take(&mut self, other: &Self) -> bool {
        match (self, other) {
            (Self::Operations(own), Self::Operations(others)) => own.extend(others),
            (Self::Registers(own), Self::Registers(others)) => own.extend(others),
            _ => return false,
        }
        true
    }
}

/// Questions about one enforcement, each asked once.
struct Look<'e> {
    enforcement: &'e Enforcement,
    everything: FilterSet,
    effort: Effort,
    /// By operation and condition.
    known: HashMap<(Opcode, String), bool>,
}

impl<'e> Look<'e> {
    fn new(enforcement: &'e Enforcement, effort: Effort) -> Self {
        let everything = FilterSet::new(enforcement.filters().model());
        Self { enforcement, everything, effort, known: HashMap::new() }
    }

    fn operations(&self) -> impl Iterator<Item = Opcode> + use<> {
        let model = self.enforcement.filters().model();
        OPCODES.iter().map(|info| info.opcode).filter(move |operation| model.has_opcode(*operation))
    }

    /// Whether some request of an operation is allowed for which a condition holds; an empty one always does.
    /// What is too much to compute counts as allowed.
    fn is_open(&mut self, operation: Opcode, condition: &str) -> Result<bool, CompareError> {
        let filters = self.enforcement.filters();
        if !filters.model().has_opcode(operation) {
            return Ok(false);
        }
        let key = (operation, condition.to_owned());
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        let probed = self.probe(operation, condition);
        let probed = probed.as_ref().unwrap_or(&self.everything);
        let open = common(filters, probed, operation, self.effort)? != Difference::Never;
        self.known.insert(key, open);
        Ok(open)
    }

    /// The filters that allow such requests alone. There are none where the kernel shows no filter what the condition
    /// speaks of.
    fn probe(&self, operation: Opcode, condition: &str) -> Option<FilterSet> {
        if condition.is_empty() {
            return None;
        }
        let text = format!("version = 1\ndefault = \"deny\"\n[ops]\n{operation} = \"{condition}\"\n");
        let policy = Policy::parse(&text, "probe").ok()?;
        let model = self.enforcement.filters().model();
        Some(Enforcement::new(&[policy], model).ok()?.filters().clone())
    }

    /// Whether some request of an operation is refused that has no flags: what flags ask for, no system call and no
    /// other operation has.
    fn is_restricted(&self, operation: Opcode) -> Result<bool, CompareError> {
        let mut plain = self.probe(operation, "sqe_flags == 0");
        if plain.as_ref().is_some_and(|plain| self.is_nothing(plain, operation)) {
            // The kernel sets it by itself.
            plain = self.probe(operation, "sqe_flags == IOSQE_ASYNC");
        }
        let plain = plain.as_ref().unwrap_or(&self.everything);
        Ok(compare(plain, self.enforcement.filters(), operation, self.effort)?.tightened != Difference::Never)
    }

    /// Whether there is no request that these filters allow.
    fn is_nothing(&self, filters: &FilterSet, operation: Opcode) -> bool {
        matches!(common(filters, &self.everything, operation, self.effort), Ok(Difference::Never))
    }

    /// The operations for which requests with these flags are open.
    fn open_with(&mut self, flags: SqeFlags) -> Result<Vec<Opcode>, CompareError> {
        let mut open = Vec::new();
        for operation in self.operations() {
            let takes = !flags.contains(SqeFlags::BUFFER_SELECT)
                || operation.traits().contains(OpTraits::BUFFER_SELECT);
            if takes && self.is_open(operation, &condition(flags))? {
                open.push(operation);
            }
        }
        Ok(open)
    }

    fn leads_on(&mut self, way: &Way) -> Result<bool, CompareError> {
        let calls = self.enforcement.calls();
        match *way {
            Way::Request(operation, flags) => self.is_open(operation, &condition(flags)),
            Way::When(operation, condition) => self.is_open(operation, condition),
            Way::Flags(flags) => Ok(!self.open_with(flags)?.is_empty()),
            Way::Register(op) => Ok(calls.register.allow(op)),
            Way::Setup(flag) => Ok(!calls.setup.denied.contains(flag)),
        }
    }

    fn bugs(&mut self, release: Option<Release>) -> Result<Vec<Exposure>, CompareError> {
        let mut found: Vec<(Subject, Vec<Bug>)> = Vec::new();
        for vulnerability in VULNERABILITIES {
            if !self.has_all_else(vulnerability)? {
                continue;
            }
            let bug = Bug {
                vulnerability,
                is_fixed: release.is_some_and(|release| !vulnerability.affects(release)),
            };
            for way in vulnerability.through {
                if !self.leads_on(way)? {
                    continue;
                }
                let subject = self.subject(way)?;
                match found.iter_mut().find(|(one, _)| *one == subject) {
                    // Several ways to the same are one.
                    Some((_, bugs)) if bugs.contains(&bug) => {}
                    Some((_, bugs)) => bugs.push(bug),
                    None => found.push((subject, vec![bug])),
                }
            }
        }
        let mut merged: Vec<(Subject, Vec<Bug>)> = Vec::new();
        for (subject, bugs) in found {
            let alike = merged.iter_mut().filter(|(_, others)| *others == bugs);
            let mut takes = alike.filter_map(|(other, _)| other.take(&subject).then_some(()));
            if takes.next().is_none() {
                merged.push((subject, bugs));
            }
        }
        Ok(merged.into_iter().map(|(subject, bugs)| self.open(subject, bugs)).collect())
    }

    /// Whether what a bug needs besides is open, too.
    fn has_all_else(&mut self, vulnerability: &Vulnerability) -> Result<bool, CompareError> {
        for ways in vulnerability.with {
            let mut open = false;
            for way in *ways {
                open |= self.leads_on(way)?;
            }
            if !open {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What a policy would close.
    fn subject(&mut self, way: &Way) -> Result<Subject, CompareError> {
        Ok(match *way {
            Way::Request(_, flags) | Way::Flags(flags) if flags.contains(SqeFlags::BUFFER_SELECT) => {
                Subject::Flags(flags, self.open_with(flags)?)
            }
            Way::Flags(flags) => Subject::Flags(flags, self.open_with(flags)?),
            Way::Request(operation, _) | Way::When(operation, _) => Subject::Operations(vec![operation]),
            Way::Register(op) => Subject::Registers(vec![op]),
            Way::Setup(flag) => Subject::Setup(flag),
        })
    }

    fn open(&self, subject: Subject, mut bugs: Vec<Bug>) -> Exposure {
        let (rules, remedy) = match &subject {
            Subject::Operations(operations) => {
                let denied: Vec<_> = operations.iter().map(|one| format!("{one} = \"deny\"")).collect();
                (self.rules(operations), format!("[ops] {}", denied.join("; ")))
            }
            Subject::Flags(flags, operations) => {
                let refused = condition(*flags);
                let remedy = match self.is_required() {
                    true => format!("[all] require = \"... && !({refused})\""),
                    false => format!("[all] require = \"!({refused})\""),
                };
                (self.rules(operations), remedy)
            }
            Subject::Registers(ops) => {
                let denied: Vec<_> = ops.iter().map(|op| format!("\"{op}\"")).collect();
                (self.register_rules(ops), format!("[register] deny = [{}]", denied.join(", ")))
            }
            Subject::Setup(flag) => {
                // The list takes the place of one that is extended.
                let all = self.enforcement.calls().setup.denied | *flag;
                let all = SETUP_FLAGS.iter().filter(|known| all.contains(known.flag));
                let all: Vec<_> = all.map(|known| format!("\"{}\"", known.name)).collect();
                (Vec::new(), format!("[setup] deny_flags = [{}]", all.join(", ")))
            }
            _ => (Vec::new(), String::new()),
        };
        let weight =
            |bug: &Bug| (!bug.is_fixed, Severity::of(bug.vulnerability), bug.vulnerability.mainline());
        bugs.sort_by_key(|bug| Reverse(weight(bug)));
        let worst = bugs.first().filter(|bug| !bug.is_fixed);
        let severity = worst.map_or(Severity::Note, |bug| Severity::of(bug.vulnerability));
        let remedy = (!remedy.is_empty()).then_some(remedy);
        Exposure { severity, subject, rules, reason: None, bugs, remedy }
    }

    /// The rules of `[register]` for these calls, each once.
    fn register_rules(&self, ops: &[RegisterOp]) -> Vec<RuleOrigin> {
        let mut rules: Vec<RuleOrigin> = Vec::new();
        for policy in self.enforcement.layers() {
            for origin in ops.iter().filter_map(|op| policy.register_rule(*op)).map(Rule::origin) {
                if !rules.contains(origin) {
                    rules.push(origin.clone());
                }
            }
        }
        rules
    }

    /// The rules of operations, each once.
    fn rules(&self, operations: &[Opcode]) -> Vec<RuleOrigin> {
        let mut rules: Vec<RuleOrigin> = Vec::new();
        for policy in self.enforcement.layers() {
            for &operation in operations {
                let origin = policy.rule(operation).origin();
                if !rules.contains(origin) {
                    rules.push(origin.clone());
                }
            }
        }
        rules
    }

    fn is_required(&self) -> bool {
        self.enforcement.layers().iter().any(|policy| policy.requirement().is_some())
    }

    /// Operations that do the work of another one that is refused or restricted.
    fn equivalents(&mut self) -> Result<Vec<Exposure>, CompareError> {
        let mut found = Vec::new();
        for of in self.operations() {
            let Some(row) = Equivalent::of(of) else { continue };
            // What only the default refuses, nobody meant to keep from others.
            if self.rules(&[of]).iter().all(|rule| rule.key == "default") || !self.is_restricted(of)? {
                continue;
            }
            let what = if self.is_open(of, "")? { "restricted" } else { "refused" };
            for &by in row.others {
                if !self.enforcement.filters().model().has_opcode(by) || self.is_restricted(by)? {
                    continue;
                }
                found.push(Exposure {
                    severity: Severity::Low,
                    subject: Subject::Equivalent { of, by },
                    rules: self.rules(&[by]),
                    reason: Some(format!("{of} is {what}, and {by} {}", row.does)),
                    bugs: Vec::new(),
                    remedy: Some(match row.in_part {
                        true => format!("[ops] {by} = \"deny\""),
                        false => format!("[ops] {by} = \"deny\", or the condition of {of}"),
                    }),
                });
                break;
            }
        }
        Ok(found)
    }

    fn later(&self) -> Option<Exposure> {
        let layers = self.enforcement.layers();
        let operations = layers.iter().all(Policy::allows_later_operations);
        let registers = self.enforcement.calls().register.allow_unknown();
        let (what, remedy) = match (operations, registers) {
            (false, false) => return None,
            (true, false) => ("operations", "default = \"deny\""),
            (false, true) => ("register calls", "[register] default = \"deny\""),
            (true, true) => ("operations and register calls", "default = \"deny\", here and in [register]"),
        };
        Some(Exposure {
            severity: Severity::Low,
            subject: Subject::Later,
            rules: Vec::new(),
            reason: Some(format!(
                "{what} that no kernel has yet are allowed; what is new is where most bugs were found"
            )),
            bugs: Vec::new(),
            remedy: Some(remedy.to_owned()),
        })
    }

    /// Rules on ports or addresses that refuse a family, because its addresses have neither.
    fn families(&mut self) -> Result<Vec<Exposure>, CompareError> {
        const FAMILIES: [&str; 3] = ["AF_UNIX", "AF_INET", "AF_INET6"];
        let operation = Opcode::CONNECT;
        let mut silent = self.enforcement.layers().iter().filter(|policy| {
            let read: Vec<_> = policy.fields_read(operation).iter().map(|field| field.name).collect();
            !read.contains(&"family") && (read.contains(&"addr") || read.contains(&"port"))
        });
        let Some(policy) = silent.next() else { return Ok(Vec::new()) };
        let rule = policy.rule(operation).origin().clone();
        if !self.is_open(operation, "")? {
            return Ok(Vec::new());
        }
        let (mut allowed, mut refused) = (Vec::new(), Vec::new());
        for family in FAMILIES {
            let open = self.is_open(operation, &format!("family == {family}"))?;
            if open { &mut allowed } else { &mut refused }.push(family);
        }
        if refused.is_empty() {
            return Ok(Vec::new());
        }
        let names = refused.join(" and ");
        let reason = format!("every address of {names} is refused, and the rule does not speak of families");
        Ok(vec![Exposure {
            severity: Severity::Note,
            subject: Subject::Families(operation, refused.clone()),
            rules: vec![rule],
            reason: Some(reason),
            bugs: Vec::new(),
            remedy: Some(format!(
                "if that is meant, say so: family in {{{}}} && ...; if not: family == {} || ...",
                allowed.join(", "),
                refused[0]
            )),
        }])
    }

    /// Operations that every layer's rule allows, and of which nothing is left.
    fn dead(&mut self) -> Result<Option<Exposure>, CompareError> {
        let mut dead = Vec::new();
        for operation in self.operations() {
            let layers = self.enforcement.layers();
            let allowed = layers.iter().all(|policy| !matches!(policy.rule(operation), Rule::Deny(_)));
            if allowed && !self.is_open(operation, "")? {
                dead.push(operation);
            }
        }
        if dead.is_empty() {
            return Ok(None);
        }
        let mut in_workers = true;
        for &operation in &dead {
            // A request of it without the flag.
            let without = self.probe(operation, "sqe_flags & IOSQE_ASYNC == 0");
            in_workers &= without.is_some_and(|without| self.is_nothing(&without, operation));
        }
        let (reason, remedy) = match in_workers {
            true => (
                "rules allow them and require refuses every request: the kernel sets IOSQE_ASYNC on them by itself",
                "leave IOSQE_ASYNC out of what [all] require refuses, or deny them",
            ),
            false => {
                ("rules allow them, and no request passes all that is required", "deny them, or require less")
            }
        };
        Ok(Some(Exposure {
            severity: Severity::Note,
            rules: self.rules(&dead),
            subject: Subject::Dead(dead),
            reason: Some(reason.to_owned()),
            bugs: Vec::new(),
            remedy: Some(remedy.to_owned()),
        }))
    }

    /// The calls that do what requests may not, those of restricted operations first.
    fn system_calls(&mut self) -> Result<Option<Exposure>, CompareError> {
        let (mut allowed, mut restricted, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for operation in self.operations() {
            let Some(SyscallEquivalent { stands_for: StandsFor::Calls(calls), .. }) =
                SyscallEquivalent::of(operation)
            else {
                continue;
            };
            let list = match self.is_restricted(operation)? {
                false => &mut allowed,
                true if self.is_open(operation, "")? => &mut restricted,
                true => &mut refused,
            };
            list.extend_from_slice(calls);
        }
        let mut calls: Vec<&str> = Vec::new();
        for call in restricted.into_iter().chain(refused) {
            // What some operation may do is not refused.
            if !calls.contains(&call) && !allowed.contains(&call) {
                calls.push(call);
            }
        }
        if calls.is_empty() {
            return Ok(None);
        }
        Ok(Some(Exposure {
            severity: Severity::Note,
            subject: Subject::SystemCalls(calls),
            rules: Vec::new(),
            reason: Some(
                "they do what requests may not, and no policy speaks of them: seccomp refuses system calls"
                    .to_owned(),
            ),
            bugs: Vec::new(),
            remedy: None,
        }))
    }
}

/// The condition for requests with all of these flags, in the policy language.
fn condition(flags: SqeFlags) -> String {
    let each = flags.iter_names().map(|(name, _)| format!("sqe_flags & IOSQE_{name}"));
    each.collect::<Vec<_>>().join(" && ")
}
