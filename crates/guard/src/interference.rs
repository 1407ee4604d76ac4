//! Memory that somebody else reads and writes between any two accesses of the guard's own, for tests.

use std::cell::RefCell;
use std::sync::atomic::{self, Ordering};

type Hook = Box<dyn FnMut()>;

thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

/// Runs `body`, and `hook` before each access to shared memory that this thread makes in it.
pub(crate) fn with<T>(hook: impl FnMut() + 'static, body: impl FnOnce() -> T) -> T {
    HOOK.set(Some(Box::new(hook)));
    let result = body();
    HOOK.set(None);
    result
}

/// What the hook does itself is not interfered with.
pub(crate) fn step() {
    if let Some(mut hook) = HOOK.take() {
        hook();
        HOOK.set(Some(hook));
    }
}

/// Runs `body` without the hook.
pub(crate) fn without<T>(body: impl FnOnce() -> T) -> T {
    let hook = HOOK.take();
    let result = body();
    HOOK.set(hook);
    result
}

macro_rules! word {
    ($name:ident, $value:ty) => {
        /// As that of the standard library.
        #[derive(Debug)]
        #[repr(transparent)]
        pub(crate) struct $name(atomic::$name);

        impl $name {
            pub(crate) fn load(&self, order: Ordering) -> $value {
                step();
                self.0.load(order)
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                step();
                self.0.store(value, order);
            }

            #[allow(dead_code)] // of one of the two
            pub(crate) fn fetch_update(
                &self,
                set: Ordering,
                fetch: Ordering,
                update: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                step();
                self.0.fetch_update(set, fetch, update)
            }

            #[allow(dead_code)] // of one of the two
            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                step();
                self.0.swap(value, order)
            }

            #[allow(dead_code)] // of one of the two
            pub(crate) fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                step();
                self.0.fetch_add(value, order)
            }

            #[allow(dead_code)] // of one of the two
            pub(crate) fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                step();
                self.0.fetch_or(value, order)
            }
        }
    };
}

word!(AtomicU32, u32);
word!(AtomicU64, u64);
