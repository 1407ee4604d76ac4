//! A trace: requests on their way from the process that sees them to the one that keeps them.
//!
//! The guard must not depend on what writes files for analysis, so it only sends bytes of a fixed form through a stream;
//! another program, `ringwarden-records`, makes Parquet of them. Both are of one version, and say so first
//! ([`Preamble`]). What follows is [items](Item), until the end of the stream:
//!
//! ```
//! use ringwarden_trace::{Item, Policy, Preamble, Reader, Request, push};
//!
//! let preamble = Preamble { model: "guard".into(), policies: vec![Policy { file: "a.toml".into(), text: String::new() }] };
//! let mut stream = preamble.to_bytes();
//! push(&mut stream, &Item::Rule("openat at a.toml:3".into()));
//! push(&mut stream, &Item::Request(Request { rule: 0.into(), ..Request::default() }));
//!
//! let mut reader = Reader::new(&stream[..])?;
//! assert_eq!(reader.preamble(), &preamble);
//! assert!(matches!(reader.next()?, Some(Item::Rule(_))));
//! assert!(matches!(reader.next()?, Some(Item::Request(_))));
//! assert!(reader.next()?.is_none());
//! # Ok::<(), ringwarden_trace::Broken>(())
//! ```
//!
//! Numbers are little-endian. Nothing is trusted: a stream that is not one is an error, and memory is bounded.

#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod broken;
mod item;
mod preamble;
mod reader;

pub use broken::Broken;
pub use item::{Item, NO_RULE, Request, Verdict, WORDS, push};
pub use preamble::{Policy, Preamble};
pub use reader::Reader;
pub use zerocopy::little_endian::U32 as Word;
