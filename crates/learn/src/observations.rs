//! What a program was seen to ask of io_uring.

use crate::values::Values;
use ringwarden_policy::{Field, FieldValue, Kind};
use ringwarden_uapi::ring::{MAX_ENTRIES, Params, SetupFlags};
use ringwarden_uapi::{Opcode, RegisterOp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// No kernel has address families from here on (`AF_MAX` of `include/linux/socket.h` is 46 in Linux 7.2):
/// such requests fail, and need not be kept apart.
pub(crate) const NO_FAMILY: u64 = 64;

/// What a program asked of io_uring, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observations {
    pub(crate) runs: u64,
    pub(crate) operations: BTreeMap<Operation, Seen>,
    pub(crate) setup: Setup,
    pub(crate) register: BTreeMap<Register, u64>,
}

/// The requests of one operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) requests: u64,
    /// Every `IOSQE_*` that some request showed to filters.
    pub(crate) sqe_flags: u8,
    /// The values of the operation's fields, by address family: 0 where it has none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) families: BTreeMap<u64, Fields>,
    /// There were families that no kernel has, of which nothing more is known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) strangers: bool,
}

/// The values of fields, by name.
pub(crate) type Fields = BTreeMap<String, Values>;

/// The rings that were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) rings: u64,
    /// Every `IORING_SETUP_*` that some ring was to have.
    pub(crate) flags: u32,
    /// The largest ring, by its SQEs or half of its CQEs, whichever is more.
    pub(crate) entries: u32,
}

impl Observations {
    /// Nothing, seen in one run.
    pub fn new() -> Self {
        Self { runs: 1, ..Self::default() }
    }

    /// A request, by the words of its context as filters see it (`struct io_uring_bpf_ctx`). One of an
    /// operation that no known kernel has is not recorded.
    pub fn request(&mut self, words: &[u32]) {
        let Some([opcode, sqe_flags, ..]) = words.get(2).map(|word| word.to_ne_bytes()) else { return };
        let opcode = Opcode(opcode);
        if opcode.name().is_none() {
            return;
        }
        let seen = self.operations.entry(Operation(opcode)).or_default();
        seen.requests = seen.requests.saturating_add(1);
        seen.sqe_flags |= sqe_flags;
        seen.add_fields(opcode, words);
    }

    /// A ring, whether the kernel made it or not.
    pub fn setup(&mut self, entries: u32, params: &Params) {
        let flags = SetupFlags::from_bits_truncate(params.flags);
        let cq_entries = if flags.contains(SetupFlags::CQSIZE) { params.cq_entries } else { 0 };
        // Kernels refuse or clamp what is larger.
        let entries = entries.max(cq_entries.div_ceil(2)).min(MAX_ENTRIES);
        self.setup.merge(Setup { rings: 1, flags: flags.bits(), entries });
    }

    /// An `io_uring_register` call, whatever became of it. One with an opcode that no known kernel has
    /// is not recorded.
    pub fn register(&mut self, op: RegisterOp) {
        if op.name().is_none() {
            return;
        }
        *self.register.entry(Register(op)).or_default() += 1;
        // A request in a call of its own.
        if op == RegisterOp::REGISTER_SEND_MSG_RING {
            self.operations.entry(Operation(Opcode::MSG_RING)).or_default().requests += 1;
        }
    }

    /// Adds what other runs showed.
    pub fn merge(&mut self, other: &Self) {
        self.runs = self.runs.saturating_add(other.runs);
        for (operation, seen) in &other.operations {
            self.operations.entry(*operation).or_default().merge(seen);
        }
        self.setup.merge(other.setup);
        for (op, calls) in &other.register {
            let own = self.register.entry(*op).or_default();
            *own = own.saturating_add(*calls);
        }
    }

    /// How many runs of the program are in here.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// How many requests were seen.
    pub fn requests(&self) -> u64 {
        self.operations.values().fold(0, |sum, seen| sum.saturating_add(seen.requests))
    }

    /// The operations that were seen, in numeric order.
    pub fn operations(&self) -> impl ExactSizeIterator<Item = Opcode> {
        self.operations.keys().map(|operation| operation.0)
    }

    /// How many rings were asked for.
    pub fn rings(&self) -> u64 {
        self.setup.rings
    }
}

impl Seen {
    fn add_fields(&mut self, opcode: Opcode, words: &[u32]) {
        let mut family = 0;
        let mut values = Vec::new();
        // Those of every operation are a cookie, and flags that are counted already. What only the guard sees would take
        // a policy to the split lane.
        let is_counted = |field: &&Field| !field.operations.is_empty() && !field.is_guards_own();
        let mut fields = Field::all_of(opcode).filter(is_counted).peekable();
        if fields.peek().is_none() {
            return;
        }
        for field in fields {
            match field.value(words) {
                Some(FieldValue::Number(number)) if field.kind == Kind::Family => family = number,
                Some(FieldValue::Number(number)) => values.push((field.name, number.into())),
                Some(FieldValue::Address(IpAddr::V4(v4))) => values.push((field.name, v4.to_bits().into())),
                Some(FieldValue::Address(IpAddr::V6(v6))) => values.push((field.name, v6.to_bits())),
                _ => {}
            }
        }
        if let Some(fields) = self.of_family(family) {
            for (name, value) in values {
                match fields.get_mut(name) {
                    Some(values) => values.add(value),
                    None => fields.entry(name.to_owned()).or_default().add(value),
                }
            }
        }
    }

    /// Where values under that family are kept, if they are.
    fn of_family(&mut self, family: u64) -> Option<&mut Fields> {
        if family >= NO_FAMILY {
            self.strangers = true;
            return None;
        }
        Some(self.families.entry(family).or_default())
    }

    fn merge(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.sqe_flags |= other.sqe_flags;
        self.strangers |= other.strangers;
        for (&family, fields) in &other.families {
            // A record may hold what was never seen.
            let Some(own) = self.of_family(family) else { continue };
            for (name, values) in fields {
                own.entry(name.clone()).or_default().merge(values);
            }
        }
    }
}

impl Setup {
    fn merge(&mut self, other: Self) {
        self.rings = self.rings.saturating_add(other.rings);
        self.flags |= other.flags;
        self.entries = self.entries.max(other.entries);
    }
}

/// An operation, which records name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Operation(pub(crate) Opcode);

/// A register opcode, which records name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Register(pub(crate) RegisterOp);

impl From<Operation> for String {
    fn from(operation: Operation) -> Self {
        operation.0.to_string()
    }
}

impl TryFrom<String> for Operation {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Opcode::from_name(&name).map(Self).ok_or(format!("unknown operation `{name}`"))
    }
}

impl From<Register> for String {
    fn from(register: Register) -> Self {
        register.0.to_string()
    }
}

impl TryFrom<String> for Register {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        RegisterOp::from_name(&name).map(Self).ok_or(format!("unknown register opcode `{name}`"))
    }
}
