//! Descriptors of busy rings, kept for a moment.
//!
//! Reusing a private SQE takes a call on the ring, and the guard holds no descriptor of it. Fetching
//! one from the program and making sure of it costs ten times the call itself, so while a ring is
//! submitting without a break its descriptor is kept. The ring lives that much longer than the
//! program's own descriptors: two [ticks](Leases::expire), against an end that is asynchronous
//! natively, too (`io_ring_exit_work`).

use crate::split::taken::Taken;
use crate::split::threads::tasks::RingId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The kept descriptors, shared with the thread that drops them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leases(Arc<Mutex<HashMap<RingId, Lease>>>);

#[derive(Debug)]
struct Lease {
    descriptor: Arc<Taken>,
    /// Used since the last tick.
    fresh: bool,
}

impl Leases {
    /// The ring's descriptor, if there is one.
    pub(crate) fn get(&self, ring: RingId) -> Option<Arc<Taken>> {
        let mut leases = self.leases();
        let lease = leases.get_mut(&ring)?;
        lease.fresh = true;
        Some(Arc::clone(&lease.descriptor))
    }

    /// Keeps a descriptor of the ring; whether it is the only one kept.
    pub(crate) fn keep(&self, ring: RingId, descriptor: Arc<Taken>) -> bool {
        let mut leases = self.leases();
        leases.insert(ring, Lease { descriptor, fresh: true });
        leases.len() == 1
    }

    /// Drops what was not used since the last tick; whether anything is left.
    pub(crate) fn expire(&self) -> bool {
        let mut leases = self.leases();
        let stale: Vec<_> = leases.extract_if(|_, lease| !std::mem::take(&mut lease.fresh)).collect();
        let any_left = !leases.is_empty();
        // Closed when nobody waits for the lock.
        drop(leases);
        drop(stale);
        any_left
    }

    fn leases(&self) -> MutexGuard<'_, HashMap<RingId, Lease>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::taken::Closer;

    #[test]
    fn a_descriptor_is_kept_for_as_long_as_it_is_used_and_a_tick_more() {
        let leases = Leases::default();
        let (read, _write) = rustix::pipe::pipe().expect("a pipe");
        let descriptor = Arc::new(Closer::start().expect("a thread").take(read));
        assert!(leases.keep(RingId(1), Arc::clone(&descriptor)), "the first");
        assert!(leases.expire(), "used since the last tick");
        assert!(leases.get(RingId(1)).is_some());
        assert!(leases.expire(), "used again");
        assert!(!leases.expire());
        assert!(leases.get(RingId(1)).is_none());
        assert_eq!(Arc::strong_count(&descriptor), 1);
    }
}
