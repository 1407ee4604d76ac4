//! Something that is replaced under its readers' hands: they see the old version or the new one, whole, and wait for
//! nobody.
//!
//! All that is ours of it is here, without the two things that it is made of: a [`Cell`] that holds the current version,
//! and the [`Turn`] that writers take. What we rely on is that a cell's `load` never blocks and that whoever loads a
//! version sees all that was done to it before it was stored. That is arc-swap's promise
//! (`arc_swap::docs::performance`: all read operations are lock-free and, but for one in a quarter of the address space,
//! wait-free). [`model`] shows with loom that more is not needed, in every order in which threads can meet.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

#[cfg(test)]
mod model;

/// Holds the current version.
pub(crate) trait Cell<T> {
    /// A version that stays as long as somebody has it.
    type Guard: Deref<Target = Arc<T>>;

    /// The current version.
    fn load(&self) -> Self::Guard;

    /// Has another be the current one.
    fn store(&self, next: Arc<T>);
}

/// What one writer has at a time.
pub(crate) trait Turn {
    /// Does something while nobody else has it.
    fn take<R>(&self, act: impl FnOnce() -> R) -> R;
}

/// Versions of a `T`, one after the other.
pub(crate) struct Versions<T, C, W> {
    current: C,
    writer: W,
    of: PhantomData<fn(T) -> T>,
}

impl<T: Clone, C: Cell<T>, W: Turn> Versions<T, C, W> {
    /// Those that begin with the one in the cell.
    pub(crate) fn new(current: C, writer: W) -> Self {
        Self { current, writer, of: PhantomData }
    }

    /// The current one: nothing but a load of the cell.
    pub(crate) fn load(&self) -> C::Guard {
        self.current.load()
    }

    /// Replaces the current one by a changed copy, unless `change` fails.
    pub(crate) fn update<E>(&self, change: impl FnOnce(&mut T) -> Result<(), E>) -> Result<(), E> {
        self.writer.take(|| {
            let next = self.changed(change)?;
            self.current.store(Arc::new(next));
            Ok(())
        })
    }

    /// A changed copy of the current one, which stays as it is: what somebody begins with who has inherited it.
    pub(crate) fn changed<E>(&self, change: impl FnOnce(&mut T) -> Result<(), E>) -> Result<T, E> {
        let mut next = T::clone(&self.load());
        change(&mut next)?;
        Ok(next)
    }
}
