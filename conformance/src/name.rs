//! Numbers, and the names they have in headers.

use crate::Malformed;

/// `or`-ed with `|` in tables, as in C.
const CONSTANTS: &[(&str, u64)] = &[
    ("AF_UNSPEC", 0),
    ("AF_UNIX", 1),
    ("AF_INET", 2),
    ("AF_INET6", 10),
    ("SOCK_STREAM", 1),
    ("SOCK_DGRAM", 2),
    ("SOCK_NONBLOCK", 0o4000),
    ("SOCK_CLOEXEC", 0o2000000),
    ("IPPROTO_TCP", 6),
    ("IPPROTO_UDP", 17),
    ("AT_FDCWD", -100i64 as u64),
    ("O_RDONLY", 0),
    ("O_WRONLY", 1),
    ("O_RDWR", 2),
    ("O_CREAT", 0o100),
    ("O_TRUNC", 0o1000),
    ("O_LARGEFILE", 0o100000),
    ("O_CLOEXEC", 0o2000000),
    ("O_PATH", 0o10000000),
    ("O_TMPFILE", 0o20200000),
    ("RESOLVE_BENEATH", 8),
    ("RESOLVE_IN_ROOT", 16),
    ("POSIX_FADV_NORMAL", 0),
    ("POSIX_FADV_WILLNEED", 3),
    ("IORING_TIMEOUT_ETIME_SUCCESS", 32),
    ("IORING_POLL_ADD_MULTI", 1),
    ("POLLIN", 1),
];

/// A number in any notation of Rust, negative ones in two's complement; names; `|` between them.
pub(crate) fn number(text: &str) -> Result<u64, Malformed> {
    text.split('|').try_fold(0, |sum, part| Ok(sum | single(part)?))
}

fn single(text: &str) -> Result<u64, Malformed> {
    let malformed = || Malformed::new("a number or the name of one", text);
    if let Some((_, value)) = CONSTANTS.iter().find(|(name, _)| *name == text) {
        return Ok(*value);
    }
    let digits = text.replace('_', "");
    if let Some(positive) = digits.strip_prefix('-') {
        return positive.parse::<u64>().map(u64::wrapping_neg).map_err(|_| malformed());
    }
    let (digits, radix) = match digits.get(..2) {
        Some("0x") => (&digits[2..], 16),
        Some("0o") => (&digits[2..], 8),
        _ => (&*digits, 10),
    };
    u64::from_str_radix(digits, radix).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_can_be_joined() {
        assert_eq!(number("O_RDWR|O_CREAT"), Ok(0o102));
        assert_eq!(number("0x1_0000_0001"), Ok(0x1_0000_0001));
        assert_eq!(number("-1"), Ok(u64::MAX));
        assert_eq!(number("0o644"), Ok(0o644));
        assert!(number("O_NONSENSE").is_err());
    }
}
