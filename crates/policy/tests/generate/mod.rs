//! Random rules, their meaning by a third implementation, and contexts worth asking about.

mod context;
mod print;
mod strategy;
mod tree;

pub(crate) use context::{OPERATIONS, Random, context, pool};
pub(crate) use strategy::rule;
pub(crate) use tree::{Bool, Num};
