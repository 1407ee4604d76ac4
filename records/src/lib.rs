//! Recorded requests: written as Parquet, and judged again under another policy.
//!
//! A record is a Parquet file with a row for each request that filters have judged ([`columns`]), and what they were
//! ([`Metadata`]). [`Recording`] writes one from a [trace](ringwarden_trace); [`Record`] is one that is there. A
//! [`Judge`] gives the verdicts of a policy on batches of rows, and [`replay`] what would change under it.
//!
//! Files are not trusted: what is no record, or only a part of one, is an [`Error`] that says where, and memory is
//! bounded by [`limits`].

#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod batch;
pub mod columns;
mod error;
mod footer;
mod judge;
pub mod limits;
mod metadata;
mod observe;
mod pages;
mod read;
mod record;
pub mod replay;
pub mod terminal;
mod write;

pub use batch::Words;
pub use error::{Error, Place};
pub use footer::Footer;
pub use judge::{Judge, Judged, PolicyError};
pub use metadata::{Metadata, PolicyText, Rings};
pub use observe::Outcome;
pub use record::Record;
pub use write::Recording;
