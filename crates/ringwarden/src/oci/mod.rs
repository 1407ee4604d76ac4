//! Restrictions of io_uring as a proposal for the OCI runtime specification has them, to policies and back.
//!
//! The shape is that of `linux.ioUring`, and of the annotation [`ANNOTATION`] by which a draft of youki takes it:
//!
//! - `defaultAction`, `deny` or `allow`, is for operations that `ops` does not name.
//! - `ops`, `IORING_OP_*`: with `deny` the only ones that are allowed, with `allow` those that are not.
//! - `socketFamilies`, `AF_*`: where IORING_OP_SOCKET is allowed, the only families of sockets. Without it, all.
//! - `deniedSqeFlags`, `IOSQE_*`: an operation that is otherwise allowed is refused with any of these flags.
//!
//! Nothing else is in it: no other arguments, no flags of rings, no register calls.

mod of_policy;

pub use of_policy::Excess;

use ringwarden_policy::layout::{File, Table, Value};
use ringwarden_policy::{CONSTANTS, Constant, Kind};
use ringwarden_uapi::{OPCODES, Opcode};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeSet;

/// The annotation of a container that holds the shape as text.
pub const ANNOTATION: &str = "dev.youki.io_uring";

/// Restrictions of io_uring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IoUring {
    /// What becomes of operations that are not named.
    pub default_action: Action,
    /// Those of which the opposite becomes.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ops: BTreeSet<Op>,
    /// The families of sockets that may be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_families: Option<BTreeSet<Family>>,
    /// Flags that no request may have.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub denied_sqe_flags: BTreeSet<Flag>,
}

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is performed.
    Allow,
    /// It fails with EACCES.
    Deny,
}

/// An operation, `IORING_OP_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Op(pub Opcode);

/// An address family, `AF_*`, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Family(pub u64);

/// A flag of requests, `IOSQE_*`, by its bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flag(pub u64);

/// Numbers that the shape says by name.
trait Named: Sized {
    /// What it is, for people.
    const IS: &'static str;
    fn name(&self) -> Option<String>;
    fn named(name: &str) -> Option<Self>;
}

impl Named for Op {
    const IS: &'static str = "io_uring operation (IORING_OP_*)";

    fn name(&self) -> Option<String> {
        let info = OPCODES.iter().find(|info| info.opcode == self.0)?;
        Some(format!("IORING_OP_{}", info.name.to_ascii_uppercase()))
    }

    fn named(name: &str) -> Option<Self> {
        OPCODES.iter().map(|info| Self(info.opcode)).find(|op| op.name().as_deref() == Some(name))
    }
}

impl Named for Family {
    const IS: &'static str = "address family (AF_*)";

    fn name(&self) -> Option<String> {
        constant(Kind::Family, self.0)
    }

    fn named(name: &str) -> Option<Self> {
        Constant::named(name)
            .filter(|constant| constant.kind == Kind::Family)
            .map(|constant| Self(constant.value))
    }
}

impl Named for Flag {
    const IS: &'static str = "flag of requests (IOSQE_*)";

    fn name(&self) -> Option<String> {
        constant(Kind::SqeFlags, self.0)
    }

    fn named(name: &str) -> Option<Self> {
        let constant = Constant::named(name).filter(|constant| constant.kind == Kind::SqeFlags);
        constant.map(|constant| Self(constant.value))
    }
}

/// The first name of a value.
fn constant(kind: Kind, value: u64) -> Option<String> {
    let mut of_kind = CONSTANTS.iter().filter(|constant| constant.kind == kind);
    of_kind.find(|constant| constant.value == value).map(|constant| constant.name.to_owned())
}

macro_rules! by_name {
    ($($type:ty),*) => { $(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                let name = self.name();
                name.ok_or_else(|| serde::ser::Error::custom(concat!(stringify!($type), " without a name")))?.serialize(to)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let name = String::deserialize(from)?;
                Self::named(&name)
                    .ok_or_else(|| D::Error::custom(format_args!("`{name}` is no {} that is known here", Self::IS)))
            }
        }
    )* };
}
by_name!(Op, Family, Flag);

/// Why a text has no restrictions.
#[derive(Debug, thiserror::Error)]
#[error("{line}:{column}: {message}")]
#[non_exhaustive]
pub struct ReadError {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1; 0 at the end of a line.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

impl From<serde_json::Error> for ReadError {
    fn from(error: serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let place = format!(" at line {line} column {column}");
        Self { line, column, message: text.strip_suffix(&place).unwrap_or(&text).to_owned() }
    }
}

impl IoUring {
    /// Reads restrictions: by themselves, or of a container's `config.json`, as `linux.ioUring` or by its annotation.
    ///
    /// # Errors
    /// There are none, or there is anything in them that the shape does not have: what is not understood may be what
    /// denies.
    pub fn read(json: &str) -> Result<Self, ReadError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Container {
            oci_version: Option<String>,
            linux: Option<Linux>,
            annotations: Option<std::collections::BTreeMap<String, String>>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Linux {
            io_uring: Option<IoUring>,
        }
        let whole = |message: &str| ReadError { line: 1, column: 1, message: message.to_owned() };
        let Container { oci_version, linux, annotations } = serde_json::from_str(json)?;
        if oci_version.is_none() && linux.is_none() && annotations.is_none() {
            return Ok(serde_json::from_str(json)?);
        }
        let annotation = annotations.as_ref().and_then(|annotations| annotations.get(ANNOTATION));
        match (linux.and_then(|linux| linux.io_uring), annotation) {
            (Some(_), Some(_)) => {
                Err(whole("there are both `linux.ioUring` and its annotation: which one counts?"))
            }
            (Some(restrictions), None) => Ok(restrictions),
            (None, Some(text)) => serde_json::from_str(text).map_err(|error| {
                let ReadError { line, column, message } = error.into();
                whole(&format!("in line {line} column {column} of the annotation {ANNOTATION}: {message}"))
            }),
            (None, None) => Err(whole(&format!(
                "this container has no restrictions of io_uring: neither `linux.ioUring` nor the annotation {ANNOTATION}"
            ))),
        }
    }

    /// The text of a policy that says the same. `origin` is what its comment calls the restrictions.
    pub fn policy(&self, name: &str, origin: &str) -> String {
        let names =
            |flags: &BTreeSet<Flag>| flags.iter().filter_map(Named::name).collect::<Vec<_>>().join(" | ");
        let (default, other) = match self.default_action {
            Action::Allow => ("allow", "deny"),
            Action::Deny => ("deny", "allow"),
        };
        // A name from outside cannot end a comment.
        let origin: String = origin.chars().flat_map(|letter| letter.escape_default()).collect();
        let comment = format!("As wide as the io_uring restrictions {origin}. Imported by Ringwarden.");
        let mut file = File::new(&comment);
        file.key("version", Value::number(1));
        file.key("name", Value::text(name));
        file.key("default", Value::text(default));
        if !self.denied_sqe_flags.is_empty() {
            let mut all = Table::new("all");
            let require = format!("!(sqe_flags & ({}))", names(&self.denied_sqe_flags));
            all.key("require", Value::condition(&require));
            file.table(all);
        }
        let mut ops = Table::new("ops");
        let allows = |op: Opcode| self.ops.contains(&Op(op)) == (self.default_action == Action::Deny);
        let families = self.socket_families.as_ref().filter(|_| allows(Opcode::SOCKET));
        for Op(op) in self.ops.iter().filter(|op| op.0 != Opcode::SOCKET || families.is_none()) {
            ops.key(&op.to_string(), Value::text(other));
        }
        match families {
            None => {}
            Some(families) if families.is_empty() => ops.key("socket", Value::text("deny")),
            Some(families) => {
                let names: Vec<_> = families.iter().filter_map(Named::name).collect();
                ops.key("socket", Value::condition(&format!("family in {{{}}}", names.join(", "))));
            }
        }
        file.table(ops);
        file.to_string()
    }
}
