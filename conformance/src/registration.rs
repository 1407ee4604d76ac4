//! Registrations of filters: what the kernel refuses, and what it writes back.

use crate::name::number;
use crate::script::kernels;
use crate::{Kernels, Res};
use ringwarden_uapi::bpf::{Bpf, BpfFilter, CMD_FILTER};
use ringwarden_uapi::{Errno, Opcode};
use serde::Deserialize;
use std::fmt;

/// A registration that differs from a valid one in what `with` says. The valid one denies NOP, so
/// that a NOP tells whether it was installed. It is made twice, for a fresh ring and a fresh task.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "RawStruct")]
pub struct StructCase {
    /// What it shows.
    pub name: String,
    /// The kernels it is about.
    pub kernels: Kernels,
    /// The struct to register, but for `filter_ptr`.
    pub bpf: Bpf,
    /// Where the struct is.
    pub arg: Arg,
    /// `nr_args`.
    pub nr_args: u32,
    /// Where the program is, if not where there is one.
    pub filter_ptr: Option<u64>,
    /// The program: that many loads, then `ret #0`; or one that no kernel takes.
    pub program: Program,
    /// What the call returns.
    pub result: Res,
    /// The payload size that is in the struct afterwards.
    pub pdu_size: u8,
}

/// Where the struct of a registration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// In memory.
    Memory,
    /// In memory that cannot be written.
    ReadOnly,
    /// At that address, where nothing is.
    Unmapped(u64),
}

/// What something is registered on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A ring.
    Ring,
    /// A task.
    Task,
}

/// The program of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Denies, in that many instructions.
    Deny {
        /// How many, at least 1.
        len: u32,
    },
    /// Has a load that no kernel takes.
    Invalid,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStruct {
    name: String,
    since: Option<String>,
    until: Option<String>,
    #[serde(default)]
    with: With,
    #[serde(default)]
    result: Option<String>,
    #[serde(default)]
    pdu_size: u8,
}

/// Numbers are strings where they can be larger than TOML's.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct With {
    cmd_type: Option<u16>,
    cmd_flags: u16,
    resv: u32,
    opcode: Option<u32>,
    flags: u32,
    filter_len: Option<u32>,
    pdu_size: u8,
    filter_resv: [u8; 3],
    resv2: [u64; 5],
    filter_ptr: Option<String>,
    arg: Option<String>,
    nr_args: Option<u32>,
    program: Option<String>,
}

impl Place {
    /// Both, in the order in which they are tried.
    pub const ALL: [Self; 2] = [Self::Ring, Self::Task];
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ring => "on a ring",
            Self::Task => "on a task",
        })
    }
}

impl StructCase {
    /// The payload size in the struct if the kernel has not touched it; 0 if there is no struct.
    pub fn own_pdu_size(&self) -> u8 {
        match self.arg {
            Arg::Memory | Arg::ReadOnly => self.bpf.filter.pdu_size,
            Arg::Unmapped(_) => 0,
        }
    }
}

impl PayloadCase {
    /// What it is called, as it has no name of its own: its size and its first opcode.
    pub fn name(&self) -> String {
        let first = self.opcodes.first().map(Opcode::to_string).unwrap_or_default();
        let more = if self.opcodes.len() > 1 { " and others" } else { "" };
        format!("payload sizes of {first}{more}: {}", self.size)
    }

    /// Every registration, in the order in which they are tried.
    pub fn attempts(&self) -> impl Iterator<Item = PayloadAttempt> {
        let opcodes =
            Place::ALL.into_iter().flat_map(|place| self.opcodes.iter().map(move |op| (place, *op)));
        let strict =
            opcodes.flat_map(|(place, opcode)| [false, true].map(|strictly| (place, opcode, strictly)));
        strict.flat_map(|(place, opcode, strictly)| {
            let fits = if strictly { &self.fits_strictly } else { &self.fits };
            self.tried.iter().map(move |&size| PayloadAttempt {
                opcode,
                size,
                strictly,
                place,
                fits: fits.contains(&size),
            })
        })
    }
}

impl fmt::Display for PayloadAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let strictly = if self.strictly { ", strictly" } else { "" };
        write!(f, "{}: {} bytes{strictly}, {}", self.opcode, self.size, self.place)
    }
}

impl TryFrom<RawStruct> for StructCase {
    type Error = String;

    fn try_from(raw: RawStruct) -> Result<Self, String> {
        let with = raw.with;
        let address = |text: String| number(&text).map_err(|error| error.to_string());
        let arg = match with.arg.as_deref() {
            None => Arg::Memory,
            Some("read_only") => Arg::ReadOnly,
            Some(text) => Arg::Unmapped(address(text.to_owned())?),
        };
        let len = with.filter_len.unwrap_or(1);
        let program = match with.program.as_deref() {
            None => Program::Deny { len: len.clamp(1, 8192) },
            Some("invalid") => Program::Invalid,
            Some(other) => return Err(format!("no program `{other}`")),
        };
        let result = match raw.result.as_deref() {
            None => Res::Value(0),
            Some(name) => Errno::from_name(name).map(|e| Res::Value(e.negated())).ok_or("no such errno")?,
        };
        Ok(Self {
            name: raw.name,
            kernels: kernels(raw.since.as_deref(), raw.until.as_deref())?,
            bpf: Bpf {
                cmd_type: with.cmd_type.unwrap_or(CMD_FILTER),
                cmd_flags: with.cmd_flags,
                resv: with.resv,
                filter: BpfFilter {
                    opcode: with.opcode.unwrap_or(Opcode::NOP.0.into()),
                    flags: with.flags,
                    filter_len: len,
                    pdu_size: with.pdu_size,
                    resv: with.filter_resv,
                    filter_ptr: 0,
                    resv2: with.resv2,
                },
            },
            arg,
            nr_args: with.nr_args.unwrap_or(1),
            filter_ptr: with.filter_ptr.map(address).transpose()?,
            program,
            result,
            pdu_size: raw.pdu_size,
        })
    }
}

/// The payload sizes that filters for some opcodes can be registered with. Every size in `tried` is
/// tried with and without SZ_STRICT; those that do not fit are EMSGSIZE. The kernel's size is
/// written back each time.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "RawPayload")]
pub struct PayloadCase {
    /// The kernels it is about.
    pub kernels: Kernels,
    /// The opcodes.
    pub opcodes: Vec<Opcode>,
    /// The kernel's size.
    pub size: u8,
    /// The sizes to try.
    pub tried: Vec<u8>,
    /// Those that fit.
    pub fits: Vec<u8>,
    /// Those that fit with SZ_STRICT.
    pub fits_strictly: Vec<u8>,
}

/// One registration of [`PayloadCase`].
#[derive(Clone, Copy, Debug)]
pub struct PayloadAttempt {
    /// The opcode.
    pub opcode: Opcode,
    /// The size.
    pub size: u8,
    /// With SZ_STRICT.
    pub strictly: bool,
    /// Where.
    pub place: Place,
    /// Whether it is accepted.
    pub fits: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPayload {
    since: Option<String>,
    until: Option<String>,
    opcodes: Vec<String>,
    size: u8,
    tried: Vec<u8>,
    fits: Vec<u8>,
    fits_strictly: Vec<u8>,
}

impl TryFrom<RawPayload> for PayloadCase {
    type Error = String;

    fn try_from(raw: RawPayload) -> Result<Self, String> {
        let opcode = |name: &String| Opcode::from_name(name).ok_or_else(|| format!("no opcode `{name}`"));
        Ok(Self {
            kernels: kernels(raw.since.as_deref(), raw.until.as_deref())?,
            opcodes: raw.opcodes.iter().map(opcode).collect::<Result<_, _>>()?,
            size: raw.size,
            tried: raw.tried,
            fits: raw.fits,
            fits_strictly: raw.fits_strictly,
        })
    }
}
