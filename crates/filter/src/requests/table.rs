//! The requests in flight, each in a place that is used again after it.

use super::{RawSqe, RequestId};
use crate::prep::Copied;
use ringwarden_uapi::Opcode;
use ringwarden_uapi::ring::SqeFlags;
use std::ops::{Index, IndexMut};

/// Requests by their places. To index it by a place that is free is a mistake of the caller's.
#[derive(Debug, Default)]
pub(super) struct Table {
    places: Vec<Live>,
    free: Vec<u32>,
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct Live {
    generation: u32,
    pub(super) entry: RawSqe,
    pub(super) copied: Copied,
    /// Its own, and those added to them.
    pub(super) flags: SqeFlags,
    pub(super) state: State,
    pub(super) res: i32,
    pub(super) cqe_flags: u32,
    pub(super) failed: bool,
    pub(super) skip: bool,
    /// It failed and would have been silent: those linked behind it are in its stead.
    pub(super) skip_links: bool,
    pub(super) hard: bool,
    /// The next in the chain is a LINK_TIMEOUT that was prepared.
    pub(super) armed: bool,
    pub(super) next: Option<u32>,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is yet to be started, if ever.
    Waiting,
    Running,
    /// A timeout of the one in that place, which runs.
    Armed(u32),
    /// Its result is there.
    Over,
}

impl Live {
    pub(super) fn new(entry: RawSqe) -> Self {
        let flags = SqeFlags::from_bits_retain(entry.sqe().flags);
        Self {
            generation: 0,
            entry,
            copied: Copied::default(),
            flags,
            state: State::Waiting,
            res: 0,
            cqe_flags: 0,
            failed: false,
            skip: flags.contains(SqeFlags::CQE_SKIP_SUCCESS),
            skip_links: false,
            hard: flags.contains(SqeFlags::IO_HARDLINK),
            armed: false,
            next: None,
        }
    }

    pub(super) fn opcode(&self) -> Opcode {
        Opcode(self.entry.sqe().opcode)
    }

    pub(super) fn user_data(&self) -> u64 {
        self.entry.sqe().user_data
    }

    /// The flags that its submitter gave it.
    pub(super) fn written_flags(&self) -> SqeFlags {
        SqeFlags::from_bits_retain(self.entry.sqe().flags)
    }

    /// A failure is always reported; CQE_SKIP_SUCCESS then silences what is linked behind it instead.
    pub(super) fn set_failed(&mut self) {
        self.failed = true;
        self.skip_links |= std::mem::take(&mut self.skip);
    }
}

impl Table {
    pub(super) fn insert(&mut self, live: Live) -> u32 {
        match self.free.pop() {
            Some(index) => {
                let place = &mut self[index];
                *place = Live { generation: place.generation, ..live };
                index
            }
            None => {
                self.places.push(live);
                self.places.len() as u32 - 1
            }
        }
    }

    pub(super) fn remove(&mut self, index: u32) {
        let place = &mut self[index];
        *place = Live { generation: place.generation.wrapping_add(1), ..Live::new(RawSqe::default()) };
        self.free.push(index);
    }

    pub(super) fn id(&self, index: u32) -> RequestId {
        RequestId { index, generation: self[index].generation }
    }

    /// The place of a request that is in flight.
    pub(super) fn find(&self, id: RequestId) -> Option<u32> {
        let place = self.places.get(id.index as usize)?;
        (place.generation == id.generation).then_some(id.index)
    }

    /// How many there were at most.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

impl Index<u32> for Table {
    type Output = Live;

    fn index(&self, index: u32) -> &Live {
        &self.places[index as usize]
    }
}

impl IndexMut<u32> for Table {
    fn index_mut(&mut self, index: u32) -> &mut Live {
        &mut self.places[index as usize]
    }
}
