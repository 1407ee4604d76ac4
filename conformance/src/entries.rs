//! Allow lists as scripts write them.

use crate::Malformed;
use crate::name::number;
use crate::request::sqe_flag;
use ringwarden_uapi::restriction::{REGISTER_OP, Restriction, SQE_FLAGS_ALLOWED, SQE_FLAGS_REQUIRED, SQE_OP};
use ringwarden_uapi::{Opcode, RegisterOp};

/// `[op=NAME] [register=NAME] [allowed=FLAG|…] [required=FLAG|…] [entries=N] …`: allow lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// The entries.
    pub list: Vec<Restriction>,
    /// The header's `flags`, of the form for tasks.
    pub flags: u16,
    /// The header's first reserved word.
    pub resv: u32,
    /// `nr_args`, if not what it should be.
    pub nr_args: Option<u32>,
    /// The argument's address, if not that of the entries.
    pub arg: Option<u64>,
    /// The memory behind the header (the form for tasks) or before the last entry ends.
    pub cut_short: bool,
}

impl Entries {
    pub(crate) fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Result<Self, Malformed> {
        let mut entries = Self::default();
        let mut copies = None;
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let entry = |kind, value: u8| Restriction { kind, value, ..Restriction::default() };
            match key {
                "op" => entries.list.push(entry(SQE_OP, opcode(value)?)),
                "register" => entries.list.push(entry(REGISTER_OP, register_op(value)?.0 as u8)),
                "allowed" => entries.list.push(entry(SQE_FLAGS_ALLOWED, sqe_flags(value)?)),
                "required" => entries.list.push(entry(SQE_FLAGS_REQUIRED, sqe_flags(value)?)),
                "kind" => entries.list.push(entry(number(value)? as u16, 0)),
                "entry_resv" => {
                    let resv = number(value)? as u32;
                    for entry in &mut entries.list {
                        (entry.resv, entry.resv2) = (resv as u8, [resv; 3]);
                    }
                }
                "copies" => copies = Some(number(value)? as usize),
                "flags" => entries.flags = number(value)? as u16,
                "resv" => entries.resv = number(value)? as u32,
                "nr_args" => entries.nr_args = Some(number(value)? as u32),
                "arg" => entries.arg = Some(number(value)?),
                "cut_short" => entries.cut_short = true,
                _ => return Err(Malformed::new("part of an allow list", word)),
            }
        }
        if let (Some(copies), Some(&last)) = (copies, entries.list.last()) {
            entries.list.resize(copies, last);
        }
        Ok(entries)
    }
}

/// A name, or a number where it is one that has none.
fn opcode(text: &str) -> Result<u8, Malformed> {
    Opcode::from_name(text).map_or_else(|| number(text).map(|n| n as u8), |opcode| Ok(opcode.0))
}

pub(crate) fn register_op(text: &str) -> Result<RegisterOp, Malformed> {
    RegisterOp::from_name(text).map_or_else(|| number(text).map(|n| RegisterOp(n as u32)), Ok)
}

/// Flags, joined by `|`.
fn sqe_flags(names: &str) -> Result<u8, Malformed> {
    names.split('|').try_fold(0, |flags, name| Ok(flags | sqe_flag(name)?.bits()))
}
