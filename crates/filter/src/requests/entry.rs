//! A submission queue entry as it was copied out of the ring.

use ringwarden_uapi::ring::Sqe;
use std::sync::atomic::{AtomicU64, Ordering};
use zerocopy::IntoBytes;

/// The bytes of an SQE, 64 or 128 of them, in the order in which they lie in memory (so that numbers in them are the
/// processor's own). Whoever has one has a copy: nobody can change what is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawSqe {
    first: Sqe,
    second: Option<Box<[u8; 64]>>,
}

impl RawSqe {
    /// Copies an SQE out of memory that its submitter may write to at any time; each word is read once. It takes 8
    /// words, or 16 of a ring whose SQEs have 128 bytes, and of one that has both where two slots are left before the
    /// ring's end; further ones are left alone, and what is missing is zeros.
    ///
    /// The ring's tail has to be read before, with [`Acquire`](Ordering::Acquire).
    pub fn load(words: &[AtomicU64]) -> Self {
        let mut bytes = [0; 16];
        for (copy, word) in bytes.iter_mut().zip(words) {
            *copy = word.load(Ordering::Relaxed);
        }
        let [first, second]: [[u64; 8]; 2] = zerocopy::transmute!(bytes);
        let second = (words.len() >= 16).then(|| Box::new(zerocopy::transmute!(second)));
        Self { first: zerocopy::transmute!(first), second }
    }

    /// The first 64 bytes by their names.
    pub fn sqe(&self) -> &Sqe {
        &self.first
    }

    /// Bytes 64 to 127, if there are any.
    pub fn second(&self) -> Option<&[u8; 64]> {
        self.second.as_deref()
    }

    /// The first 64 bytes.
    pub fn bytes(&self) -> &[u8] {
        self.first.as_bytes()
    }
}

impl From<Sqe> for RawSqe {
    fn from(first: Sqe) -> Self {
        Self { first, second: None }
    }
}

impl From<[u8; 64]> for RawSqe {
    fn from(bytes: [u8; 64]) -> Self {
        let first: Sqe = zerocopy::transmute!(bytes);
        Self::from(first)
    }
}

impl From<[u8; 128]> for RawSqe {
    fn from(bytes: [u8; 128]) -> Self {
        let [first, second]: [[u8; 64]; 2] = zerocopy::transmute!(bytes);
        Self { second: Some(Box::new(second)), ..Self::from(first) }
    }
}
