//! The live table of `watch`: how often a program was refused an operation.

use crate::audit::Line;
use crate::style::{BOLD, harmless, say};
use std::cmp::Reverse;
use std::collections::HashMap;

/// Clears the screen and goes to its first place (ECMA-48).
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Rows when the terminal does not say how many it has.
const ROWS: usize = 24;
/// Those for the head and the row where the cursor is.
const HEAD: usize = 4;

/// Counts by program and operation.
#[derive(Default)]
pub(super) struct Table {
    counts: HashMap<(String, String), u64>,
    lost: u64,
}

impl Table {
    pub(super) fn add(&mut self, line: &Line) {
        *self.counts.entry((line.program.clone(), line.op.clone())).or_default() += 1;
    }

    pub(super) fn lose(&mut self, lost: u64) {
        self.lost += lost;
    }

    pub(super) fn draw(&self) {
        let rows = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(0, |size| size.ws_row.into());
        // Some terminals do not say how large they are.
        let rows = if rows == 0 { ROWS } else { rows };
        say!("{CLEAR}{}", self.text(rows.saturating_sub(HEAD)));
    }

    /// The most frequent first, in so many rows.
    fn text(&self, rows: usize) -> String {
        let mut counts: Vec<_> = self.counts.iter().collect();
        counts.sort_by_key(|(key, count)| (Reverse(**count), *key));
        let total = self.counts.values().sum::<u64>() + self.lost;
        let mut text = format!("Refused requests: {total}. Ctrl-C ends.\n\n");
        text += &format!("{BOLD}{:>10}  {:<16} operation{BOLD:#}", "count", "program");
        for ((program, op), count) in counts.iter().take(rows) {
            // The program chooses its name, and a terminal obeys control characters.
            let program = if program.is_empty() { "?".into() } else { harmless(program) };
            text += &format!("\n{count:>10}  {program:<16} {op}");
        }
        if self.lost > 0 {
            text += &format!("\n{:>10}  came too fast to be told of", self.lost);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_come_first_and_names_do_no_harm() {
        let mut table = Table::default();
        for (program, op, count) in [("a", "read", 2), ("b\x1b[2J", "openat", 30), ("", "nop", 1)] {
            table.counts.insert((program.into(), op.into()), count);
        }
        table.lose(7);
        let text = table.text(2);
        let rows: Vec<_> =
            text.lines().skip(3).map(|row| row.split_whitespace().collect::<Vec<_>>()).collect();
        assert_eq!(rows[0], ["30", "b\\u{1b}[2J", "openat"]);
        assert_eq!(rows[1], ["2", "a", "read"]);
        assert_eq!(rows[2][0], "7");
        assert_eq!(rows.len(), 3);
        assert!(text.starts_with("Refused requests: 40."), "{text}");
        assert!(table.text(10).contains("1  ?"));
    }
}
