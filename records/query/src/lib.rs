//! SQL on recorded requests, by DataFusion: the table of records, and the functions `verdict` and `rule`.
//!
//! `verdict('new.toml', context)` is what the policy says about a request: `allow`, `deny`, or `undecided` where it depends
//! on what was not recorded. `rule('new.toml', context)` names the rule that refuses, and is null where none does. Several
//! policies are separated by commas. The column `context` holds what filters see.
//!
//! [`records()`] is the table for questions that are answered here, of files and object storage; [`table()`] the one for plans that
//! are sent elsewhere.
//!
//! Policies are read where the query is planned, and travel with it: executors on other machines need none of the files.

#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod answer;
mod function;
mod policy;
mod records;
mod store;
mod table;

pub use answer::{for_people, only_questions};
pub use function::functions;
pub use records::records;
pub use table::{TABLE, context, table};
