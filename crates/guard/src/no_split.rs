//! Rings are split on x86-64 alone: the order of stores that `slots` rests on is proven for no other processor.

use crate::error::Error;
use crate::guard::Guard;
use ringwarden_launch::Status;
use std::ffi::OsStr;

pub(crate) fn run(_: Guard, _: &[impl AsRef<OsStr>]) -> Result<Status, Error> {
    Err(Error::Architecture)
}

pub(crate) fn check_machine() -> Result<(), Error> {
    Err(Error::Architecture)
}
