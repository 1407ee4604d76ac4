//! [`Broken`]: what is wrong with a stream.

/// Why a stream is no trace, or not one to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// It begins as no trace of this version does.
    #[error("it is no trace of this version")]
    Version,
    /// Something in it is not what it has to be.
    #[error("{0} is wrong")]
    Form(&'static str),
    /// It cannot be read, or ends within an item.
    #[error("it cannot be read: {0}")]
    Read(#[from] std::io::Error),
}
