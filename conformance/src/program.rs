//! Programs: which ones are accepted, what they say, what they compute.

use crate::expect::Expected;
use crate::script::kernels_of;
use crate::{Kernels, Malformed};
use ringwarden_uapi::KernelModel;
use serde::Deserialize;
use std::fmt;

/// The `user_data` of the NOP that accepted programs judge.
pub const USER_DATA: u64 = 0x1122_3344_5566_7788;

/// Programs that are all taken, or all refused, in the same way.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "RawProgram")]
pub struct ProgramCase {
    /// What it shows.
    pub name: String,
    /// The kernels it is about.
    pub kernels: Kernels,
    /// The programs, in assembler.
    pub texts: Vec<String>,
    /// How many times over a text makes the program.
    pub repeat: usize,
    expected: Expected<Verdict>,
}

/// What comes of registering a program and of a NOP then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Registering it is EINVAL.
    Refused,
    /// It is accepted, and the NOP succeeds.
    Allows,
    /// It is accepted, and the NOP is EACCES.
    Denies,
}

/// Programs without their RET, and what is in A at their end.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "RawArithmetic")]
pub struct ArithmeticCase {
    /// What it shows.
    pub name: String,
    /// The kernels it is about.
    pub kernels: Kernels,
    /// The programs, in assembler, each with the value of A; 0 also if it has ended with 0 before.
    pub values: Vec<(String, u32)>,
}

/// What runs programs in a kernel (`net.core.bpf_jit_enable`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// The interpreter.
    Interpreter,
    /// Native code.
    Jit,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProgram {
    name: String,
    since: Option<String>,
    until: Option<String>,
    program: String,
    #[serde(default)]
    k: Vec<u32>,
    #[serde(default = "once")]
    repeat: usize,
    expect: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawArithmetic {
    name: String,
    since: Option<String>,
    until: Option<String>,
    program: String,
    #[serde(default)]
    k: Vec<u32>,
    value: Values,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    One(u32),
    ForEachK(Vec<u32>),
}

fn once() -> usize {
    1
}

impl ProgramCase {
    /// What comes of each of them on that kernel.
    pub fn verdict(&self, model: KernelModel) -> Verdict {
        *self.expected.of(model)
    }
}

impl Machine {
    /// Both, in the order in which programs are tried.
    pub const ALL: [Self; 2] = [Self::Interpreter, Self::Jit];
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interpreter => "interpreted",
            Self::Jit => "compiled",
        })
    }
}

impl Verdict {
    fn parse(text: &str) -> Result<Self, Malformed> {
        match text {
            "EINVAL" => Ok(Self::Refused),
            "allow" => Ok(Self::Allows),
            "deny" => Ok(Self::Denies),
            _ => Err(Malformed::new("EINVAL, allow or deny", text)),
        }
    }
}

impl TryFrom<RawProgram> for ProgramCase {
    type Error = String;

    fn try_from(raw: RawProgram) -> Result<Self, String> {
        Ok(Self {
            kernels: kernels_of(Kernels::ALL, raw.since.as_deref(), raw.until.as_deref())?,
            texts: texts(&raw.program, &raw.k)?,
            name: raw.name,
            repeat: raw.repeat,
            expected: Expected::parse(&raw.expect, Verdict::parse).map_err(|error| error.to_string())?,
        })
    }
}

impl TryFrom<RawArithmetic> for ArithmeticCase {
    type Error = String;

    fn try_from(raw: RawArithmetic) -> Result<Self, String> {
        let texts = texts(&raw.program, &raw.k)?;
        let values = match raw.value {
            Values::One(value) => vec![value],
            Values::ForEachK(values) => values,
        };
        if values.len() != texts.len() {
            return Err(format!("{} programs, {} values", texts.len(), values.len()));
        }
        let kernels = kernels_of(Kernels::ALL, raw.since.as_deref(), raw.until.as_deref())?;
        Ok(Self { name: raw.name, kernels, values: texts.into_iter().zip(values).collect() })
    }
}

/// The text for each `k`, or as it is where there is none.
fn texts(program: &str, k: &[u32]) -> Result<Vec<String>, String> {
    let program = program.trim_end();
    match (program.contains("{k}"), k) {
        (false, []) => Ok(vec![program.to_owned()]),
        (true, [_, ..]) => Ok(k.iter().map(|k| program.replace("{k}", &k.to_string())).collect()),
        _ => Err("{k} and k go together".to_owned()),
    }
}
