//! The filters of one opcode.

use crate::verdict::DeniedBy;
use ringwarden_cbpf::{Chain, Machine, Program};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Instructions of all registered programs of this process.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// The instructions of all programs that are registered in this process at the moment, shared ones counted
/// once: what filters of others cost in memory.
pub fn held_instructions() -> usize {
    HELD.load(Ordering::Relaxed)
}

/// One registered program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The program: 0 refuses.
    pub program: Program,
    /// Chosen at the registration; a denial names it.
    pub tag: u32,
    /// Its verdict depends on what is in memory that the SQE points at.
    pub(crate) reads_payload: bool,
}

/// A stack of filters, newest on top, with the deny-rest sentinel at the bottom or not. Clones share
/// the filters; a push onto one is not seen through the other.
///
/// Nothing is ever taken off a stack, so what `push` sums up stays true.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    newest: Option<Arc<Node>>,
    rest: bool,
    outright: Option<bool>,
    /// Who refuses every request, if anyone does, where that is known without running a program.
    settled: Option<Option<DeniedBy>>,
    loads: u32,
    payload_size: u8,
    reads_payload: bool,
    instructions: usize,
}

#[derive(Debug)]
struct Node {
    filter: Filter,
    older: Option<Arc<Node>>,
    /// The program and all older ones as one function, where that was made.
    chain: Option<Box<Chain>>,
    /// How many filters there are from here on.
    count: usize,
    /// How many of them come before the first that has a chain.
    unchained: usize,
}

impl Stack {
    /// No filters: allows. For an opcode with so many bytes of payload.
    pub(crate) fn new(payload_size: u8) -> Self {
        Self {
            newest: None,
            rest: false,
            outright: Some(true),
            settled: Some(None),
            loads: 0,
            payload_size,
            reads_payload: false,
            instructions: 0,
        }
    }

    /// A stack like this one with `programs` in the place of its own, the newest first. Two and more that are code are one
    /// function.
    pub(crate) fn with_programs(&self, programs: &mut impl Iterator<Item = Program>) -> Self {
        let mut stack = Self::new(self.payload_size);
        if self.rest {
            stack.deny_if_empty();
        }
        let filters: Vec<_> =
            self.filters().zip(programs).map(|(filter, program)| Filter { program, ..*filter }).collect();
        let mut chain = chain(filters.iter());
        for (newer, filter) in filters.into_iter().enumerate().rev() {
            stack.put(filter, if newer == 0 { chain.take() } else { None });
        }
        stack
    }

    /// Puts a filter on top. Whenever there are as many without a chain as with one, all of them become one: so none is made
    /// code more than twice, on the average.
    pub(crate) fn push(&mut self, filter: Filter) {
        let (older, unchained) = self.counts();
        let is_due = filter.program.machine() == Machine::Native && 2 * (unchained + 1) > older;
        let chain = if is_due { chain(std::iter::once(&filter).chain(self.filters())) } else { None };
        self.put(filter, chain);
    }

    fn put(&mut self, filter: Filter, chain: Option<Box<Chain>>) {
        self.outright = match (self.outright, filter.program.constant()) {
            (Some(false), _) | (_, Some(0)) => Some(false),
            (outright, Some(_)) => outright,
            (_, None) => None,
        };
        self.settled = match filter.program.constant() {
            Some(0) => Some(Some(filter.blame())),
            Some(_) => self.settled,
            None => None,
        };
        self.loads |= filter.program.loads();
        self.reads_payload |= filter.reads_payload;
        let instructions = filter.program.insns().len();
        self.instructions += instructions;
        HELD.fetch_add(instructions, Ordering::Relaxed);
        let (count, unchained) = self.counts();
        let unchained = if chain.is_some() { 0 } else { unchained + 1 };
        let older = self.newest.take();
        self.newest = Some(Arc::new(Node { filter, older, chain, count: count + 1, unchained }));
    }

    /// How many filters there are, and how many of them come before the first that has a chain.
    fn counts(&self) -> (usize, usize) {
        self.newest.as_ref().map_or((0, 0), |node| (node.count, node.unchained))
    }

    /// Puts the sentinel at the bottom, unless there are filters: deny-rest fills only empty slots.
    pub(crate) fn deny_if_empty(&mut self) {
        if self.newest.is_none() {
            self.rest = true;
            self.outright = Some(false);
            self.settled = Some(Some(DeniedBy::Rest));
        }
    }

    /// The same answer for every request, where that is known without running a program.
    #[inline]
    pub(crate) fn outright(&self) -> Option<bool> {
        self.outright
    }

    /// Who refuses every request, if anyone does, where that is known without running a program.
    #[inline]
    pub(crate) fn settled(&self) -> Option<Option<DeniedBy>> {
        self.settled
    }

    /// The words of a context that its programs load: bit *n* is the word at byte 4*n*.
    #[inline]
    pub(crate) fn loads(&self) -> u32 {
        self.loads
    }

    /// How many bytes of payload there are for its opcode.
    #[inline]
    pub(crate) fn payload_size(&self) -> u8 {
        self.payload_size
    }

    /// Whether the verdict of some program depends on what is in memory that the SQE points at.
    #[inline]
    pub(crate) fn reads_payload(&self) -> bool {
        self.reads_payload
    }

    /// The instructions of all its programs: no request takes more.
    pub(crate) fn instructions(&self) -> usize {
        self.instructions
    }

    /// Newest first.
    pub(crate) fn filters(&self) -> impl Iterator<Item = &Filter> {
        self.newest.iter().flat_map(|node| node.and_older()).map(|node| &node.filter)
    }

    pub(crate) fn ends_in_rest(&self) -> bool {
        self.rest
    }

    /// Who refuses that context, if anyone does.
    #[inline]
    pub(crate) fn refusal(&self, words: &[u32]) -> Option<DeniedBy> {
        self.refusing(words).map(Filter::blame).or(self.rest())
    }

    #[inline]
    fn refusing(&self, words: &[u32]) -> Option<&Filter> {
        let mut next = self.newest.as_deref();
        while let Some(node) = next {
            if let Some(chain) = &node.chain {
                let older = chain.first_refusal(words)?;
                // It names one of them.
                return Some(node.and_older().nth(older).map_or(&node.filter, |node| &node.filter));
            }
            if node.filter.refuses(words) {
                return Some(&node.filter);
            }
            next = node.older.as_deref();
        }
        None
    }

    /// The same where what is in memory is not known: filters that depend on it cannot be asked, so that
    /// somebody refuses if there is one.
    #[inline(never)]
    pub(crate) fn refusal_without(&self, words: &[u32]) -> Option<DeniedBy> {
        let mut askable = self.filters().filter(|filter| !filter.reads_payload);
        let certain = askable.find(|filter| filter.refuses(words)).map(Filter::blame).or(self.rest());
        certain.or(self.reads_payload.then_some(DeniedBy::PayloadUnread))
    }

    fn rest(&self) -> Option<DeniedBy> {
        self.rest.then_some(DeniedBy::Rest)
    }
}

impl Filter {
    #[inline]
    fn refuses(&self, words: &[u32]) -> bool {
        self.program.run(words) == 0
    }

    fn blame(&self) -> DeniedBy {
        DeniedBy::Filter { tag: self.tag }
    }
}

/// Programs as one function, the first one first. One is as fast by itself.
fn chain<'f>(filters: impl Iterator<Item = &'f Filter>) -> Option<Box<Chain>> {
    let programs: Vec<_> = filters.map(|filter| filter.program.clone()).collect();
    if programs.len() > 1 { Chain::new(&programs).map(Box::new) } else { None }
}

impl Node {
    fn and_older(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |node| node.older.as_deref())
    }
}

/// A stack has no limit, so it must not be freed by recursion, which would follow it down.
impl Drop for Node {
    fn drop(&mut self) {
        HELD.fetch_sub(self.filter.program.insns().len(), Ordering::Relaxed);
        let mut next = self.older.take();
        while let Some(mut node) = next.and_then(Arc::into_inner) {
            next = node.older.take();
        }
    }
}
