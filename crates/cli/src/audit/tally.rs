//! How much was refused of what.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Counts refusals by operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    counts: BTreeMap<String, u64>,
    /// Refusals of which nothing more is known.
    lost: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, op: &str) {
        match self.counts.get_mut(op) {
            Some(count) => *count += 1,
            None => drop(self.counts.insert(op.to_owned(), 1)),
        }
    }

    pub(crate) fn lose(&mut self, lost: u64) {
        self.lost += lost;
    }

    /// Takes in what somebody else has counted.
    pub(crate) fn join(&mut self, other: Self) {
        for (op, count) in other.counts {
            *self.counts.entry(op).or_default() += count;
        }
        self.lost += other.lost;
    }

    /// The line that tells of all of it at the end; none where nothing was refused.
    pub(crate) fn closing(&self) -> Option<String> {
        let total = self.counts.values().sum::<u64>() + self.lost;
        // The most frequent first.
        let mut counts: Vec<_> = self.counts.iter().collect();
        counts.sort_by_key(|(op, count)| (std::cmp::Reverse(**count), *op));
        let mut parts: Vec<_> = counts.iter().map(|(op, count)| format!("{op} ({count})")).collect();
        if self.lost > 0 {
            parts.push(format!("unknown ({})", self.lost));
        }
        let noun = if total == 1 { "request" } else { "requests" };
        (total > 0).then(|| format!("ringwarden: {total} {noun} refused: {}", parts.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_has_the_most_frequent_first_and_what_is_not_known_last() {
        let mut tally = Tally::default();
        assert_eq!(tally.closing(), None);
        tally.add("read");
        assert_eq!(tally.closing().as_deref(), Some("ringwarden: 1 request refused: read (1)"));
        ["openat", "socket", "openat"].iter().for_each(|op| tally.add(op));
        let mut other = Tally::default();
        other.add("socket");
        other.lose(7);
        tally.join(other);
        let line = "ringwarden: 12 requests refused: openat (2), socket (2), read (1), unknown (7)";
        assert_eq!(tally.closing().as_deref(), Some(line));
    }
}
