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
    /// Whether it allows what meets the condition and denies the rest, or the other way round.
    pub allows: bool,
    /// The byte offset of a word of the context, and the value that it has to have; met by every
    /// request if absent.
    pub condition: Option<(u32, u32)>,
    /// The program in assembler, which comes to the same.
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
        let mut condition = None;
        let mut options = options.iter();
        while let Some(option) = options.next() {
            match *option {
                "deny_rest" => flags |= FilterFlags::DENY_REST,
                "strict" => flags |= FilterFlags::SZ_STRICT,
                "if" => condition = Some(parse_condition(options.next().ok_or_else(malformed)?)?),
                other => match other.split_once('=') {
                    Some(("pdu", value)) => pdu_size = number(value)? as u8,
                    Some(("times", value)) => times = number(value)? as u32,
                    _ => return Err(Malformed::new("deny_rest, strict, pdu=N, times=N or if", other)),
                },
            }
        }
        let program = match condition {
            None => format!("ret #{yes}"),
            Some((word, value)) => format!("ld [{word}]\njeq #{value}, same\nret #{no}\nsame: ret #{yes}"),
        };
        Ok((Self { opcode, allows: yes == 1, condition, program, flags, pdu_size }, times))
    }
}

/// `[OFFSET]==VALUE`.
fn parse_condition(condition: &str) -> Result<(u32, u32), Malformed> {
    let malformed = || Malformed::new("[OFFSET]==VALUE", condition);
    let (word, value) = condition.split_once("==").ok_or_else(malformed)?;
    let word = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).ok_or_else(malformed)?;
    let narrow = |text| u32::try_from(number(text)?).map_err(|_| malformed());
    Ok((narrow(word)?, narrow(value)?))
}
