//! Filters as scripts write them.

use crate::Malformed;
use crate::name::number;
use ringwarden_uapi::Opcode;
use ringwarden_uapi::bpf::FilterFlags;

/// `allow|deny OPCODE [if [OFFSET]==VALUE] [deny_rest] [strict] [pdu=N]`: a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The opcode it is for.
    pub opcode: Opcode,
    /// The program in assembler.
    pub program: String,
    /// Registration flags.
    pub flags: FilterFlags,
    /// The payload size it is registered with.
    pub pdu_size: u8,
}

impl Filter {
    pub(crate) fn parse(words: &[&str]) -> Result<(Self, u32), Malformed> {
        let malformed = || Malformed::new("allow|deny OPCODE …", &words.join(" "));
        let [verdict, opcode, options @ ..] = words else { return Err(malformed()) };
        let (yes, no) = match *verdict {
            "allow" => (1, 0),
            "deny" => (0, 1),
            _ => return Err(malformed()),
        };
        let opcode = Opcode::from_name(opcode).ok_or_else(malformed)?;
        let (mut flags, mut pdu_size, mut times) = (FilterFlags::empty(), 0, 1);
        let mut program = format!("ret #{yes}");
        let mut options = options.iter();
        while let Some(option) = options.next() {
            match *option {
                "deny_rest" => flags |= FilterFlags::DENY_REST,
                "strict" => flags |= FilterFlags::SZ_STRICT,
                "if" => program = conditional(options.next().ok_or_else(malformed)?, yes, no)?,
                other => match other.split_once('=') {
                    Some(("pdu", value)) => pdu_size = number(value)? as u8,
                    Some(("times", value)) => times = number(value)? as u32,
                    _ => return Err(Malformed::new("deny_rest, strict, pdu=N, times=N or if", other)),
                },
            }
        }
        Ok((Self { opcode, program, flags, pdu_size }, times))
    }
}

/// The program of `[OFFSET]==VALUE`.
fn conditional(condition: &str, yes: u32, no: u32) -> Result<String, Malformed> {
    let malformed = || Malformed::new("[OFFSET]==VALUE", condition);
    let (word, value) = condition.split_once("==").ok_or_else(malformed)?;
    let word = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).ok_or_else(malformed)?;
    let (word, value) = (number(word)?, number(value)?);
    Ok(format!("ld [{word}]\njeq #{value}, same\nret #{no}\nsame: ret #{yes}"))
}
