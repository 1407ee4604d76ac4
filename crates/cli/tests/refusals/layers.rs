//! From cases to policies: the filters that a case registers on its way, given before it starts.

use ringwarden::policy::Field;
use ringwarden::uapi::bpf::FilterFlags;
use ringwarden::uapi::ring::SetupFlags;
use ringwarden::uapi::{KernelModel, Opcode};
use ringwarden_conformance::{Action, ContextCase, Filter, Request, Res, ScriptCase, Step, Target};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

/// The kernel whose filters the guard stands in for.
pub(crate) const MODEL: KernelModel = KernelModel::Guard.kernel();

/// Why a case cannot be acted out under a policy that is there from the start.
pub(crate) type Reason = &'static str;

const OTHER_KERNELS: Reason = "about older kernels than the one whose filters the guard has";
const SEVERAL_TASKS: Reason = "several tasks, or a task that changes itself";
const TASK_RESTRICTIONS: Reason = "restricts its task, a call that only exists since 7.0";
pub(crate) const REGISTRATION: Reason = "about what registering a filter returns or how high a stack can be";
const LATER: Reason = "some request comes before a filter for it, or on a ring without it";
const OTHER_CALLS: Reason = "about register calls that have nothing to do with filters";
const SQE_MIXED: Reason = "SQE_MIXED, which the guard refuses (docs/guard.md)";
const NAMELESS: Reason = "a filter on a word that the policy language has no name for";

/// The policies, one a filter, that do for a script what its filters do.
pub(crate) fn of_script(case: &ScriptCase) -> Result<Vec<String>, Reason> {
    if !case.kernels.include(MODEL) {
        return Err(OTHER_KERNELS);
    }
    let mut script = Script::default();
    case.steps.iter().try_for_each(|step| script.follow(step))?;
    script.check_places()?;
    let mut layers = Vec::new();
    for (index, (_, filter)) in script.filters.iter().enumerate() {
        layers.push(layer(filter, script.filters[..index].iter().map(|(_, earlier)| *earlier))?);
    }
    if layers.is_empty() {
        layers.push(policy("allow", &BTreeMap::new()));
    }
    Ok(layers)
}

/// A policy that allows the request of a context case and no other, and one that allows any other.
pub(crate) fn of_context(case: &ContextCase) -> Result<[String; 2], Reason> {
    if !case.kernels.include(MODEL) {
        return Err(OTHER_KERNELS);
    }
    let opcode = case.request.opcode();
    let fields = Field::all_of(opcode)
        .filter_map(|field| Some(format!("{} == {}", field.name, field.show(&case.words)?)));
    let same = fields.collect::<Vec<_>>().join(" && ");
    let other = format!("!({same})");
    Ok([same, other].map(|rule| policy("allow", &BTreeMap::from([(opcode.to_string(), rule)]))))
}

/// The filters of a script, and which requests they are there for.
#[derive(Default)]
struct Script<'case> {
    filters: Vec<(&'case Target, &'case Filter)>,
    /// How many filters there were when a ring was made, for those that it has from its task.
    rings: HashMap<&'case str, usize>,
    /// A request, its ring, and how many filters there were.
    requests: Vec<(Opcode, &'case str, usize)>,
}

impl<'case> Script<'case> {
    fn follow(&mut self, step: &'case Step) -> Result<(), Reason> {
        if step.by != "main" {
            return Err(SEVERAL_TASKS);
        }
        match &step.action {
            Action::Ring { setup, .. } if setup.contains(SetupFlags::SQE_MIXED) => return Err(SQE_MIXED),
            Action::Ring { ring, .. } => {
                self.rings.insert(ring, self.filters.len());
            }
            Action::Filter { target, filter, times: 1 } if step.expect(MODEL).returns == Res::Value(0) => {
                self.filters.push((target, filter));
            }
            Action::Filter { .. } => return Err(REGISTRATION),
            Action::Restrict { target: Target::Task, .. } => return Err(TASK_RESTRICTIONS),
            Action::Register { .. } => return Err(OTHER_CALLS),
            Action::Submit { ring, request } => self.request(ring, request),
            Action::Enter { ring, requests, .. } => {
                requests.iter().for_each(|request| self.request(ring, request));
            }
            Action::Restrict { .. } | Action::Enable { .. } | Action::Complete { .. } => {}
            _ => return Err(SEVERAL_TASKS),
        }
        Ok(())
    }

    fn request(&mut self, ring: &'case str, request: &Request) {
        self.requests.push((request.opcode(), ring, self.filters.len()));
    }

    /// Policies are there from the start and for every ring. That makes no difference if every
    /// request meets every filter of the script that is for its opcode.
    fn check_places(&self) -> Result<(), Reason> {
        let meets = |&(opcode, ring, then): &(Opcode, &str, usize)| {
            self.filters.iter().enumerate().all(|(index, (target, filter))| {
                let there = match target.ring() {
                    Some(name) => name == ring && index < then,
                    None => self.rings.get(ring).is_some_and(|&made| index < made),
                };
                there || filter.opcode != opcode && !filter.flags.contains(FilterFlags::DENY_REST)
            })
        };
        if self.requests.iter().all(meets) { Ok(()) } else { Err(LATER) }
    }
}

/// The policy that does what `filter` does after `earlier` ones.
fn layer<'case>(filter: &Filter, earlier: impl Iterator<Item = &'case Filter>) -> Result<String, Reason> {
    let mut rules = BTreeMap::new();
    let mut default = "allow";
    if filter.flags.contains(FilterFlags::DENY_REST) {
        default = "deny";
        // What has a filter is left to it.
        rules.extend(earlier.map(|earlier| (earlier.opcode.to_string(), "allow".to_owned())));
    }
    rules.insert(filter.opcode.to_string(), rule(filter)?);
    Ok(policy(default, &rules))
}

fn rule(filter: &Filter) -> Result<String, Reason> {
    let Some((offset, value)) = filter.condition else {
        return Ok(if filter.allows { "allow" } else { "deny" }.to_owned());
    };
    let condition = match (offset, filter.opcode) {
        (0, _) => format!("user_data & 0xffffffff == {value}"),
        (8, opcode) => {
            let [shown, flags, size, 0] = value.to_le_bytes() else { return Err(NAMELESS) };
            if (shown, size) != (opcode.0, MODEL.payload_size(opcode)) {
                return Err(NAMELESS);
            }
            format!("sqe_flags == {flags}")
        }
        (16, Opcode::SOCKET | Opcode::CONNECT) => format!("family == {value}"),
        (20, Opcode::CONNECT) => format!("port == {}", u16::from_be(value as u16)),
        _ => return Err(NAMELESS),
    };
    Ok(if filter.allows { condition } else { format!("!({condition})") })
}

fn policy(default: &str, rules: &BTreeMap<String, String>) -> String {
    let mut text = format!("version = 1\ndefault = \"{default}\"\n[ops]\n");
    for (operation, rule) in rules {
        let _ = writeln!(text, "{operation} = \"{rule}\"");
    }
    text
}
