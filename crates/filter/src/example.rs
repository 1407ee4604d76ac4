//! [`Example`]: a request that shows filters the given words of a context.

use crate::payload;
use crate::scalars::sqe_shown;
use crate::{Context, Errno, KernelModel, Payload};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::ring::Sqe;

/// A request that was put together to show certain words to filters: an SQE, and the argument that it is to point at.
///
/// Words that no request shows make one that shows others. Flags that its place among others would add, the program
/// may as well set itself.
///
/// ```
/// use ringwarden_filter::{Context, Example, KernelModel, Payload};
/// use ringwarden_uapi::{Opcode, ring::Sqe};
///
/// let sqe = Sqe { opcode: Opcode::CONNECT.0, off: 16, ..Sqe::default() };
/// let address = [2, 0, 1, 187, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
/// let context = Context::new(KernelModel::V7_3, &sqe, Payload::Sockaddr(&address))?;
/// let example = Example::showing(context.words()).expect("the words of a context");
/// assert_eq!(example.payload(), Payload::Sockaddr(&address));
/// assert_eq!(example.context(KernelModel::V7_3)?, context);
/// # Ok::<(), ringwarden_uapi::Errno>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    sqe: Sqe,
    argument: Vec<u8>,
}

impl Example {
    /// The request that shows these words; `None` if they are too few for a context.
    pub fn showing(words: &[u32]) -> Option<Self> {
        let [low, high, header, _, payload @ ..] = words else { return None };
        let [opcode, flags, ..] = header.to_ne_bytes();
        let user_data = u64::from(*low) | u64::from(*high) << 32;
        // What the guard shows of the SQE says nothing of what others do.
        let mut sqe = Sqe { opcode, flags, user_data, ..sqe_shown(words) };
        let argument = payload::decode(payload.first_chunk()?, &mut sqe);
        if let Some(place) = Opcode(opcode).argument() {
            place.point(&mut sqe, 0, argument.len());
        }
        Some(Self { sqe, argument })
    }

    /// The SQE. Its pointers lead nowhere, but lengths are those of what they are to lead to.
    pub fn sqe(&self) -> &Sqe {
        &self.sqe
    }

    /// The argument in memory.
    pub fn payload(&self) -> Payload<'_> {
        Payload::of(Opcode(self.sqe.opcode), &self.argument)
    }

    /// What filters see of it.
    ///
    /// # Errors
    /// As [`Context::new`].
    pub fn context(&self, model: KernelModel) -> Result<Context, Errno> {
        Context::new(model, &self.sqe, self.payload())
    }
}
