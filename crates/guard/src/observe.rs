//! What the guard tells of all that passes it.

use ringwarden_filter::Context;
use ringwarden_uapi::RegisterOp;
use ringwarden_uapi::ring::{Params, Sqe};

/// Who submits a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Submitter {
    /// The thread, in the guard's pid namespace.
    pub tid: i32,
    /// The ring, by a number that no other one of the same guard has or had.
    pub ring: u64,
}

/// Is told of what the filters and rules let through. With an observer every request is looked at, those
/// of operations without conditions included, which otherwise pass unseen.
///
/// All but [`ended`](Self::ended) is called on the thread that serves the program: whatever it does
/// delays the program.
pub trait Observe: Send + Sync {
    /// A request is published to the kernel, once for each time that the program asks for it. `sqe` is as
    /// the program wrote it.
    ///
    /// Not told of are requests that the kernel fails whatever filters say: of unknown operations, or
    /// with an argument in memory that it would not read.
    fn request(&self, sqe: &Sqe, context: &Context);

    /// The same with who submits it. This is what the guard calls; it calls [`request`](Self::request).
    ///
    /// # Errors
    /// It cannot be recorded. This ends the guard and everything under it, as with [`Audit`](crate::Audit).
    fn request_of(&self, _submitter: Submitter, sqe: &Sqe, context: &Context) -> std::io::Result<()> {
        self.request(sqe, context);
        Ok(())
    }

    /// A ring of `entries` SQEs is asked for, whatever the kernel answers.
    fn setup(&self, entries: u32, params: &Params);

    /// An `io_uring_register` call is made, whatever the kernel answers.
    fn register(&self, op: RegisterOp);

    /// No guarded process is left, or the guard has failed: the last call, on the thread that runs to
    /// the guard's end. Destructors are not run.
    fn ended(&self);
}
