//! One refusal, as it is written.

use crate::format::Document;
use crate::style::harmless;
use ringwarden::filter::Context;
use ringwarden::guard;
use ringwarden::policy::Field;
use ringwarden::refusals;
use ringwarden::uapi::ring::{SetupFlags, Sqe};
use ringwarden::uapi::{KernelModel, Opcode, PayloadKind, RegisterOp};
use ringwarden::{Enforcement, Origin};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use std::ops::Range;
use std::time::SystemTime;

/// The words of a context that do not depend on the operation.
const HEADER_WORDS: usize = 3;

/// The words of a context that an argument in memory decides.
const ARGUMENT: Range<usize> = 4..10;

#[derive(JsonSchema, Serialize)]
pub(crate) struct Line {
    /// When, in UTC (RFC 3339).
    time: String,
    /// The process.
    pid: i32,
    /// The thread.
    thread: i32,
    /// The name of the thread (`comm`).
    pub(crate) program: String,
    /// What was refused: an operation's name, or the call.
    pub(crate) op: String,
    /// What was asked for, by the names that policies have for it.
    fields: Map<String, Value>,
    /// The rule, as `key = value`; or why the guard itself refuses. Empty where rules are not known.
    #[serde(skip_serializing_if = "String::is_empty")]
    rule: String,
    /// The policy file and line of the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    /// Which of the policies, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<usize>,
    /// It passed all the same (`--permissive`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) permitted: bool,
}

/// Refusals of which nothing more is known.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Lost {
    /// When that was found out, in UTC (RFC 3339).
    time: String,
    /// How many.
    pub(crate) lost: u64,
}

impl Document for Line {}

impl Document for Lost {}

impl Lost {
    pub(crate) fn now(lost: u64) -> Self {
        Self { time: time(SystemTime::now()), lost }
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        format!("ringwarden: {} more were refused, which came too fast to be told of", self.lost)
    }
}

impl Line {
    /// What the guard refuses, or the maker of rings.
    pub(crate) fn of_the_guard(refusal: &guard::Refusal, enforcement: &Enforcement) -> Self {
        use guard::Refused;
        let mut line = Self {
            time: time(refusal.time),
            pid: refusal.pid,
            thread: refusal.tid,
            program: refusal.program.clone(),
            op: String::new(),
            fields: Map::new(),
            rule: String::new(),
            at: None,
            layer: None,
            permitted: refusal.permitted,
        };
        match &refusal.request {
            Refused::Request { sqe, context, denial } => {
                line.op = denial.opcode.to_string();
                line.fields = fields(sqe, Some(context));
                line.name(enforcement.origin(denial, context));
            }
            Refused::Setup { entries, params } => {
                line.op = "io_uring_setup".into();
                line.fields.insert("entries".into(), (*entries).into());
                line.fields.insert("flags".into(), setup_flags(params.flags).into());
                // A ring that may not be enabled is not made, either.
                let enable = RegisterOp::REGISTER_ENABLE_RINGS;
                let origin = enforcement.setup_origin(*entries, params);
                line.name(origin.or_else(|| enforcement.register_origin(enable)));
            }
            Refused::Unverifiable => {
                line.op = "io_uring_enter".into();
                line.rule = "its arguments could not be put out of the program's reach".into();
            }
            Refused::Unreadable => {
                line.op = "io_uring_setup".into();
                line.rule = "the process may not be looked into: it has given up its user since it was \
                             executed, or is not dumpable, and the guard has no CAP_SYS_PTRACE"
                    .into();
            }
            Refused::TooManyRings { most } => {
                line.op = "io_uring_setup".into();
                line.rule = format!("the guard can have {most} rings at a time: its limit of open files");
            }
            Refused::OverLimit { .. } => {
                line.op = "io_uring_setup".into();
                line.rule = "the limit of what all rings come to".into();
            }
            Refused::NoRoomForArguments => {
                line.op = "io_uring_setup".into();
                line.rule = "other rings take all the room for arguments, which rules look at".into();
            }
            Refused::Register { op } => {
                line.op = "io_uring_register".into();
                line.fields.insert("op".into(), op.to_string().into());
                line.rule = "the guard cannot stand for this call".into();
                line.name(enforcement.register_origin(*op));
            }
            Refused::ForeignRing { fd } => {
                line.op = "io_uring_enter".into();
                line.fields.insert("fd".into(), (*fd).into());
                line.rule = "the ring was not made under the guard".into();
            }
            _ => {}
        }
        line
    }

    /// What the kernel refuses by itself. Of the request the tracepoint tells less than the rules look at.
    pub(crate) fn of_the_kernel(refusal: &refusals::Refusal, enforcement: Option<&Enforcement>) -> Self {
        let request = &refusal.request;
        let sqe = Sqe {
            opcode: request.opcode.0,
            flags: request.flags.bits(),
            user_data: request.user_data,
            ..Sqe::default()
        };
        let context = Context::header(KernelModel::default(), &sqe);
        let header = Field::all_of(request.opcode).filter(|field| field.words().end <= HEADER_WORDS);
        let shown = header.filter_map(|field| Some((field.name.into(), field.show(context.words())?.into())));
        let mut line = Self {
            time: time(refusal.time),
            pid: refusal.pid,
            thread: refusal.tid,
            program: name_of(refusal.tid),
            op: request.opcode.to_string(),
            fields: shown.collect(),
            rule: String::new(),
            at: None,
            layer: None,
            permitted: false,
        };
        if let Some(enforcement) = enforcement {
            line.name_one_of(&enforcement.suspects(&sqe));
        }
        line
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let Self { op, pid, program, fields, .. } = self;
        let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut text = format!(
            "ringwarden: {} {op} of {}({pid}): {}",
            if self.permitted { "would refuse" } else { "refused" },
            // The program chooses its name, and has none any more where it is gone.
            if program.is_empty() { String::new() } else { harmless(program) + " " },
            fields.join(" "),
        );
        if !self.rule.is_empty() {
            text += &format!(" [{}]", self.place());
        }
        text
    }

    /// The operation or call, and which register call.
    pub(crate) fn what(&self) -> String {
        let register = self.fields.get("op").and_then(Value::as_str);
        register.map_or_else(|| self.op.clone(), |register| format!("{} {register}", self.op))
    }

    /// The rule and where it stands. One of several lines is one here.
    pub(crate) fn place(&self) -> String {
        let at = self.at.as_deref().unwrap_or("the guard");
        format!("{at}: {}", self.rule.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Names the rule that refuses.
    fn name(&mut self, origin: Option<Origin>) {
        let Some(Origin { rule, layer, .. }) = origin else { return };
        self.rule = format!("{} = {}", rule.key, rule.text);
        self.at = Some(format!("{}:{}", rule.file, rule.line));
        self.layer = Some(layer);
    }

    /// Names the rules of which one refuses.
    fn name_one_of(&mut self, suspects: &[Origin]) {
        match suspects {
            [] => {
                self.rule = "none of the policy's: the program's own, or a security module's".into();
                self.at = Some("the kernel".into());
            }
            [origin] => self.name(Some(origin.clone())),
            _ => {
                let join = |text: &dyn Fn(&Origin) -> String, by: &str| {
                    suspects.iter().map(text).collect::<Vec<_>>().join(by)
                };
                self.rule = join(&|Origin { rule, .. }| format!("{} = {}", rule.key, rule.text), "; or ");
                self.at = Some(join(&|Origin { rule, .. }| format!("{}:{}", rule.file, rule.line), " or "));
            }
        }
    }
}

fn time(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map(|time| format!("{time:.6}")).unwrap_or_default()
}

/// A thread's name; empty when it is gone.
fn name_of(tid: i32) -> String {
    // A name is bytes; what is no text in them is replaced.
    std::fs::read(format!("/proc/{tid}/comm"))
        .map(|name| String::from_utf8_lossy(name.trim_ascii_end()).into_owned())
        .unwrap_or_default()
}

/// The flags of a ring as policies name them, and what no name covers in hexadecimal.
fn setup_flags(flags: u32) -> String {
    let flags = SetupFlags::from_bits_retain(flags);
    let mut names: Vec<_> = flags.iter_names().map(|(name, _)| name.to_owned()).collect();
    let unknown = flags.bits() & !SetupFlags::all().bits();
    if unknown != 0 || names.is_empty() {
        names.push(if unknown == 0 { "0".into() } else { format!("{unknown:#x}") });
    }
    names.join("|")
}

/// What the request asked for: the policy's fields where they are known, and the descriptor.
fn fields(sqe: &Sqe, context: Option<&Context>) -> Map<String, Value> {
    let mut fields = Map::new();
    if let Some(context) = context {
        // What could not be read was not asked for.
        let is_known =
            |field: &&Field| context.is_complete() || !field.words().any(|word| ARGUMENT.contains(&word));
        for field in Field::all_of(context.opcode()).filter(is_known) {
            if let Some(text) = field.show(context.words()) {
                fields.insert(field.name.to_owned(), text.into());
            }
        }
    }
    // Its family is where others have a descriptor.
    if Opcode(sqe.opcode).payload() != Some(PayloadKind::Socket) {
        fields.insert("fd".into(), sqe.fd.into());
    }
    fields
}
