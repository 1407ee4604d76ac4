//! Which processors there are.

use std::io;

/// The numbers of those that are switched on.
///
/// # Errors
/// The kernel does not say so at `/sys/devices/system/cpu/online`.
pub(crate) fn online() -> io::Result<Vec<usize>> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online")?;
    parse(text.trim()).ok_or_else(|| io::Error::other("processors are not listed as expected"))
}

/// A list such as `0-3,7` (cpusets(7), "List format").
fn parse(list: &str) -> Option<Vec<usize>> {
    /// More than any kernel is built for.
    const MOST: usize = 1 << 16;
    let mut numbers = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= MOST {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_ranges_and_numbers() {
        assert_eq!(parse("0"), Some(vec![0]));
        assert_eq!(parse("0-2,5,7-8"), Some(vec![0, 1, 2, 5, 7, 8]));
        for nonsense in ["", "-", "0-", "0-99999999999", "a"] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
        assert!(!online().expect("processors").is_empty());
    }
}
