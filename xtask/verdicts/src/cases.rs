//! The filters that are measured, and the requests that they judge.

use anyhow::Context;
use ringwarden_cbpf::Insn;
use ringwarden_cbpf::asm::assemble;
use ringwarden_uapi::Opcode;
use ringwarden_uapi::ring::Sqe;
use std::fmt::Write;

/// Filters of SOCKET, oldest first.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) programs: Vec<Vec<Insn>>,
    pub(crate) requests: Vec<Sqe>,
    /// How often all of them are judged in a round.
    pub(crate) times: usize,
}

const RETURN: &str = "ret #1";
const FOUR: &str = "
        ld [16]
        jeq #1, deny
        ret #1
deny:   ret #0";
/// What `family in {AF_INET, AF_INET6} && type & 0xf == SOCK_STREAM && protocol in {0, IPPROTO_TCP}` may become.
const ELEVEN: &str = "
        ld [16]
        jeq #2, kind
        jeq #10, kind, deny
kind:   ld [20]
        and #0xf
        jeq #1, next, deny
next:   ld [24]
        jeq #0, allow
        jeq #6, allow, deny
allow:  ret #1
deny:   ret #0";

pub(crate) fn all() -> anyhow::Result<Vec<Case>> {
    let set = set(512);
    let longest = format!("ld [16]\n{}ret #1", "add #3\nxor #5\n".repeat(2047));
    [
        ("outright", "", 0),
        ("return", RETURN, 1),
        ("4 instructions, a stack of 1", FOUR, 1),
        ("11 instructions", ELEVEN, 1),
        ("a set of 512", &set, 1),
        ("4095 instructions in a row", &longest, 1),
        ("a stack of 8", FOUR, 8),
        ("a stack of 64", FOUR, 64),
    ]
    .map(|(name, text, times)| {
        let insns = assemble(text).with_context(|| format!("the program \"{name}\""))?;
        let programs = vec![insns; times];
        let times = if text == longest { 8 } else { 80 };
        Ok(Case { name, programs, requests: requests(), times })
    })
    .into_iter()
    .collect()
}

/// A protocol of a set, found by halves as compilers do it.
fn set(elements: u32) -> String {
    let mut text = "ld [24]\n".to_owned();
    halve(&mut text, 0, elements);
    text
}

/// The part of the search that decides among the elements from `first` to before `end`, each of which is 7 times its
/// number.
fn halve(text: &mut String, first: u32, end: u32) {
    if end - first == 1 {
        let _ = write!(
            text,
            "jeq #{0}, yes{first}, no{first}\nyes{first}: ret #1\nno{first}: ret #0\n",
            7 * first
        );
        return;
    }
    let (middle, name) = (first.midpoint(end), format!("{first}_{end}"));
    // Conditional jumps reach over 255 instructions only.
    let _ = writeln!(text, "jge #{}, up{name}\njmp lower{name}\nup{name}: jmp upper{name}", 7 * middle);
    let _ = write!(text, "lower{name}: ");
    halve(text, first, middle);
    let _ = write!(text, "upper{name}: ");
    halve(text, middle, end);
}

/// Requests that differ in all that is asked for, in no order that a processor could learn soon.
fn requests() -> Vec<Sqe> {
    let request = |n: u32| {
        let mixed = n.wrapping_mul(0x9e37_79b9);
        let pick = |shift: u32, of: u32| mixed >> shift & (of - 1);
        Sqe {
            opcode: Opcode::SOCKET.0,
            fd: if pick(31, 2) == 0 { 2 } else { 10 },
            off: if pick(28, 8) == 0 { 2 } else { 1 },
            len: match pick(25, 8) {
                0..4 => 0,
                4..7 => 6,
                _ => pick(12, 4096),
            },
            user_data: n.into(),
            ..Sqe::default()
        }
    };
    (0..256).map(request).collect()
}
