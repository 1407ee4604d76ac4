//! Conditions as they are written: their text, its tokens and what those form.

pub(crate) mod ast;
pub mod highlight;
pub(crate) mod lex;
pub(crate) mod network;
pub(crate) mod parse;
