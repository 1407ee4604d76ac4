//! `--audit`: one line of JSON for each refusal; `--verbose`: one for people.

use crate::lines::Lines;
use crate::permitted::Permitted;
use ringwarden::filter::Context;
use ringwarden::guard::{Audit, Refusal, Refused};
use ringwarden::policy::Field;
use ringwarden::uapi::ring::{SetupFlags, Sqe};
use ringwarden::uapi::{Opcode, RegisterOp};
use ringwarden::{Enforcement, Origin};
use serde::Serialize;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::Write;

/// Writes refusals where the command line wants them.
pub(crate) struct Log {
    pub(crate) enforcement: Enforcement,
    pub(crate) file: Option<File>,
    pub(crate) verbose: bool,
    pub(crate) lines: Lines,
    /// Where nothing is refused: what would have been.
    pub(crate) permitted: Option<Permitted>,
}

/// One refusal, as it is written. The order of the keys is part of the format.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    pid: i32,
    thread: i32,
    program: &'a str,
    /// What was refused: an operation's name, or the call.
    op: String,
    fields: Map<String, Value>,
    /// The rule, as `key = value`; or why the guard itself refuses.
    rule: String,
    /// The policy file and line of the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    /// Which of the policies, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<usize>,
    /// It passed all the same (`--permissive`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    permitted: bool,
}

impl Audit for Log {
    fn refused(&mut self, refusal: &Refusal) -> std::io::Result<()> {
        let line = self.line(refusal);
        if line.permitted
            && let Some(permitted) = &mut self.permitted
        {
            permitted.count(&line.what(), &line.place());
        }
        if self.verbose {
            let fields: Vec<_> = line.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let text = format!(
                "ringwarden: {} {} of {} ({}): {} [{}]",
                if line.permitted { "would refuse" } else { "refused" },
                line.op,
                // The program chooses its name, and a terminal obeys control characters.
                line.program.escape_debug(),
                line.pid,
                fields.join(" "),
                line.place()
            );
            self.lines.tell(text);
        }
        if let Some(file) = &mut self.file {
            let mut text = serde_json::to_vec(&line)?;
            text.push(b'\n');
            // One write a line, so that several guards can append to one file.
            if let Err(error) = file.write_all(&text) {
                self.lines.tell(format!("ringwarden: the audit file takes no more lines: {error}"));
                return Err(error);
            }
        }
        Ok(())
    }

    fn ended(&mut self) {
        if let Some(permitted) = &self.permitted {
            self.lines.tell(permitted.lines());
        }
        self.lines.finish();
    }
}

impl Log {
    fn line<'a>(&self, refusal: &'a Refusal) -> Line<'a> {
        let mut line = Line {
            time: jiff::Timestamp::try_from(refusal.time)
                .map(|time| format!("{time:.6}"))
                .unwrap_or_default(),
            pid: refusal.pid,
            thread: refusal.tid,
            program: &refusal.program,
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
                line.name(self.enforcement.origin(denial, context));
            }
            Refused::Setup { entries, params } => {
                line.op = "io_uring_setup".into();
                line.fields.insert("entries".into(), (*entries).into());
                line.fields.insert("flags".into(), setup_flags(params.flags).into());
                // A ring that may not be enabled is not made, either.
                let enable = RegisterOp::REGISTER_ENABLE_RINGS;
                let origin = self.enforcement.setup_origin(*entries, params);
                line.name(origin.or_else(|| self.enforcement.register_origin(enable)));
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
            Refused::NoRoomForArguments => {
                line.op = "io_uring_setup".into();
                line.rule = "other rings take all the room for arguments, which rules look at".into();
            }
            Refused::Register { op } => {
                line.op = "io_uring_register".into();
                line.fields.insert("op".into(), op.to_string().into());
                line.rule = "the guard cannot stand for this call".into();
                line.name(self.enforcement.register_origin(*op));
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
}

impl Line<'_> {
    /// The operation or call, and which register call.
    fn what(&self) -> String {
        let register = self.fields.get("op").and_then(Value::as_str);
        register.map_or_else(|| self.op.clone(), |register| format!("{} {register}", self.op))
    }

    /// The rule and where it stands. One of several lines is one here.
    fn place(&self) -> String {
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
        for field in Field::all_of(context.opcode()) {
            if let Some(text) = field.show(context.words()) {
                fields.insert(field.name.to_owned(), text.into());
            }
        }
    }
    if Opcode(sqe.opcode) != Opcode::SOCKET {
        fields.insert("fd".into(), sqe.fd.into());
    }
    fields
}
