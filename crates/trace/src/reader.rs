//! [`Reader`]: the items of a trace, one after the other.

use crate::broken::Broken;
use crate::item::{Item, LONGEST_RULE, LOST, NO_RULE, REGISTER, REQUEST, RING, RULE, Request, Verdict};
use crate::preamble::{Preamble, text};
use std::io::{BufRead, BufReader, Read};
use zerocopy::{FromZeros, IntoBytes};

/// The most rules of a trace: a program cannot make more, so that what claims to have more is no trace.
const MOST_RULES: u32 = 1 << 20;

/// Reads a trace.
#[derive(Debug)]
pub struct Reader<R> {
    from: BufReader<R>,
    preamble: Preamble,
    rules: u32,
}

impl<R: Read> Reader<R> {
    /// Reads the preamble.
    ///
    /// # Errors
    /// It is none.
    pub fn new(from: R) -> Result<Self, Broken> {
        let mut from = BufReader::with_capacity(256 << 10, from);
        let preamble = Preamble::read(&mut from)?;
        Ok(Self { from, preamble, rules: 0 })
    }

    /// What the trace begins with.
    pub fn preamble(&self) -> &Preamble {
        &self.preamble
    }

    /// The next item; `None` at the end. Rules that requests refer to have been read before.
    ///
    /// # Errors
    /// It is none, or there is only a part of it.
    #[allow(clippy::should_implement_trait)] // an iterator would go on after an error
    pub fn next(&mut self) -> Result<Option<Item>, Broken> {
        if self.from.fill_buf()?.is_empty() {
            return Ok(None);
        }
        Ok(Some(match self.number()? {
            REQUEST => Item::Request(self.request()?),
            RULE if self.rules < MOST_RULES => {
                self.rules += 1;
                Item::Rule(text(&mut self.from, LONGEST_RULE as u32)?)
            }
            RING => Item::Ring { entries: self.number()?, flags: self.number()?, cq_entries: self.number()? },
            REGISTER => Item::Register(self.number()?),
            LOST => Item::Lost(u64::from(self.number()?) | u64::from(self.number()?) << 32),
            _ => return Err(Broken::Form("the kind of an item")),
        }))
    }

    fn number(&mut self) -> Result<u32, Broken> {
        let mut bytes = [0; 4];
        self.from.read_exact(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn request(&mut self) -> Result<Request, Broken> {
        let mut request = Request::new_zeroed();
        self.from.read_exact(request.as_mut_bytes())?;
        let rule = request.rule.get();
        if rule != NO_RULE && rule >= self.rules {
            return Err(Broken::Form("the number of a rule"));
        }
        if Verdict::from_number(request.verdict).is_none() || request.complete > 1 {
            return Err(Broken::Form("a verdict"));
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::push;
    use proptest::prelude::*;

    fn items() -> Vec<Item> {
        vec![
            Item::Ring { entries: 8, flags: 3, cq_entries: 0 },
            Item::Rule("openat at a.toml:3".into()),
            Item::Register(7),
            Item::Lost(u64::from(u32::MAX) + 9),
            Item::Request(Request { verdict: 1, rule: 0.into(), ..Request::default() }),
            Item::Request(Request { rule: NO_RULE.into(), complete: 1, ..Request::default() }),
        ]
    }

    fn bytes() -> Vec<u8> {
        let mut bytes = Preamble { model: "guard".into(), ..Preamble::default() }.to_bytes();
        items().iter().for_each(|item| push(&mut bytes, item));
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<Item>, Broken> {
        let mut reader = Reader::new(bytes)?;
        let mut items = Vec::new();
        while let Some(item) = reader.next()? {
            items.push(item);
        }
        Ok(items)
    }

    #[test]
    fn what_is_pushed_is_read() {
        assert_eq!(read(&bytes()).expect("a trace"), items());
    }

    #[test]
    fn what_ends_within_an_item_is_no_trace() {
        let bytes = bytes();
        let ends = (0..=bytes.len()).filter(|&end| read(&bytes[..end]).is_ok()).count();
        // Behind the preamble and behind each item.
        assert_eq!(ends, 1 + items().len());
    }

    #[test]
    fn a_rule_has_to_come_before_it_is_referred_to() {
        let mut bytes = Preamble::default().to_bytes();
        push(&mut bytes, &Item::Request(Request { rule: 0.into(), ..Request::default() }));
        assert!(matches!(read(&bytes), Err(Broken::Form("the number of a rule"))));
    }

    #[test]
    fn a_long_rule_is_cut_between_two_characters() {
        let mut bytes = Preamble::default().to_bytes();
        push(&mut bytes, &Item::Rule("ä".repeat(LONGEST_RULE)));
        let items = read(&bytes).expect("a trace");
        assert!(matches!(&items[..], [Item::Rule(rule)] if rule.len() == LONGEST_RULE));
    }

    proptest! {
        #[test]
        fn no_stream_is_too_strange(at in any::<prop::sample::Index>(), with in any::<u8>(), noise in any::<Vec<u8>>()) {
            let mut bytes = bytes();
            let at = at.index(bytes.len());
            bytes[at] = with;
            let _ = read(&bytes);
            let _ = read(&noise);
        }
    }
}
