//! Text as C has it.

use std::ffi::CString;

/// The text with an end; a NUL within it, which C would take for that, is shown as U+FFFD.
pub(crate) fn c_string(text: &str) -> CString {
    // Without a NUL nothing fails.
    CString::new(text).or_else(|_| CString::new(text.replace('\0', "\u{fffd}"))).unwrap_or_default()
}

/// A number of the library's as C has it.
pub(crate) fn number(number: usize) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_early() {
        assert_eq!(c_string("a\0b").to_str(), Ok("a\u{fffd}b"));
        assert_eq!(c_string("ü").to_str(), Ok("ü"));
    }
}
