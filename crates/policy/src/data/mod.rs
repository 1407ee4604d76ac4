//! What the language knows of io_uring, as data: what requests show, what it is called, what it belongs to.

pub(crate) mod constant;
pub(crate) mod equivalent;
pub(crate) mod field;
pub(crate) mod group;
pub(crate) mod kind;
pub(crate) mod preset;
pub(crate) mod register_group;
pub(crate) mod release;
pub(crate) mod setup_flag;
pub(crate) mod show;
pub(crate) mod syscall_equivalent;
pub(crate) mod value;
pub(crate) mod view;
pub(crate) mod vulnerability;
