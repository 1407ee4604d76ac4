//! Lines that fit the terminal.

use std::io::{IsTerminal, stdout};
use textwrap::Options;

/// What is too narrow for tables is taken to be as wide.
const FEWEST: usize = 40;

/// How many columns the terminal has that is standard output; `None` where it is none, or does not say.
pub(crate) fn columns() -> Option<usize> {
    let stdout = stdout();
    let size = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(stdout).ok()).flatten()?;
    (size.ws_col > 0).then(|| FEWEST.max(size.ws_col.into()))
}

/// A line in as many as it takes: broken between words, the further ones below its last column.
pub(crate) fn wrapped(line: &str, columns: usize) -> Vec<String> {
    let indent = " ".repeat(indent(&anstream::adapter::strip_str(line).to_string(), columns));
    let options = Options::new(columns).subsequent_indent(&indent).break_words(false);
    textwrap::wrap(line, options).into_iter().map(|line| line.into_owned()).collect()
}

/// Where the last column of a line begins, if there is room enough behind it.
fn indent(line: &str, columns: usize) -> usize {
    let own = line.len() - line.trim_start().len();
    let gaps = line.as_bytes().windows(3).zip(2..);
    let columns_begin = gaps.filter(|(bytes, _)| matches!(bytes, [b' ', b' ', next] if *next != b' '));
    let last = columns_begin.map(|(_, at)| at).take_while(|at| *at <= columns * 3 / 5).last();
    last.filter(|at| *at > own).unwrap_or(own + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_lines_stand_below_the_last_column() {
        let line = "  no   tasks           a task cannot register filters: that needs Linux 7.0";
        assert_eq!(
            wrapped(line, 50),
            [
                "  no   tasks           a task cannot register",
                "                       filters: that needs Linux",
                "                       7.0",
            ]
        );
        assert_eq!(
            wrapped("a sentence that is longer than that", 20),
            ["a sentence that is", "  longer than that",]
        );
        assert_eq!(
            wrapped("port     16 bits  the port, in host order", 30),
            ["port     16 bits  the port, in", "                  host order",]
        );
        assert_eq!(wrapped("  such as connect port=443", 80), ["  such as connect port=443"]);
    }

    #[test]
    fn colours_take_no_room_and_words_stay_whole() {
        let line = "\u{1b}[32mok\u{1b}[0m  one two /a/path/that/is/longer/than/a/line";
        assert_eq!(
            wrapped(line, 12),
            ["\u{1b}[32mok\u{1b}[0m  one two", "    /a/path/that/is/longer/than/a/line",]
        );
    }
}
