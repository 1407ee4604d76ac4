//! `run --permissive`: what a policy would have refused, counted by rule, for the end.

use std::collections::BTreeMap;
use std::fmt::Write;

/// So many requests and calls each rule would have refused.
#[derive(Default)]
pub(crate) struct Permitted(BTreeMap<String, u64>);

impl Permitted {
    /// Counts one more of `what`, which that rule would have refused.
    pub(crate) fn count(&mut self, what: &str, rule: &str) {
        *self.0.entry(format!("{what} [{rule}]")).or_default() += 1;
    }

    /// The closing lines: those that were refused most come first.
    pub(crate) fn lines(&self) -> String {
        let all: u64 = self.0.values().sum();
        if all == 0 {
            return "ringwarden: no request would have been refused".into();
        }
        let requests = if all == 1 { "request" } else { "requests" };
        let mut text = format!("ringwarden: {all} {requests} would have been refused:");
        let mut counts: Vec<_> = self.0.iter().collect();
        counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        for (what, count) in counts {
            let _ = write!(text, "\nringwarden:   {count} {what}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_tells_of_each_rule_once_the_most_frequent_first() {
        let mut permitted = Permitted::default();
        assert_eq!(permitted.lines(), "ringwarden: no request would have been refused");
        permitted.count("nop", "a.toml:3: nop = deny");
        assert_eq!(
            permitted.lines(),
            "ringwarden: 1 request would have been refused:\nringwarden:   1 nop [a.toml:3: nop = deny]"
        );
        for _ in 0..2 {
            permitted.count("read", "a.toml:4: read = deny");
        }
        permitted.count("io_uring_register files", "a.toml:6: register.default = deny");
        assert_eq!(
            permitted.lines(),
            "ringwarden: 4 requests would have been refused:\n\
             ringwarden:   2 read [a.toml:4: read = deny]\n\
             ringwarden:   1 io_uring_register files [a.toml:6: register.default = deny]\n\
             ringwarden:   1 nop [a.toml:3: nop = deny]"
        );
    }
}
