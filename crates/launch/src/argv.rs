//! A program and its arguments.

use crate::last_errno;
use rustix::io::Errno;
use std::ffi::{CString, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::ptr::null;

/// A program and its arguments, prepared so that a process between fork and exec allocates nothing.
#[derive(Debug)]
pub struct Argv {
    /// What `pointers` point to.
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

/// Why something cannot be executed at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgvError {
    /// There is not even a program.
    #[error("no program is named")]
    Empty,
    /// An argument has a NUL byte in it.
    #[error("argument {0} contains a NUL byte")]
    Nul(usize),
}

impl Argv {
    /// `argv[0]` is the program.
    ///
    /// # Errors
    /// See [`ArgvError`].
    pub fn new(argv: &[impl AsRef<OsStr>]) -> Result<Self, ArgvError> {
        let strings = argv
            .iter()
            .enumerate()
            .map(|(index, arg)| CString::new(arg.as_ref().as_bytes()).map_err(|_| ArgvError::Nul(index)))
            .collect::<Result<Vec<_>, _>>()?;
        if strings.is_empty() {
            return Err(ArgvError::Empty);
        }
        let pointers = strings.iter().map(|arg| arg.as_ptr()).chain([null()]).collect();
        Ok(Self { _strings: strings, pointers })
    }

    /// Becomes the program, looked up in `PATH`; returns only if that fails.
    pub fn exec(&self) -> Errno {
        // SAFETY: a null-terminated array of C strings that live until the call replaces this process or
        // fails; there is a first one.
        unsafe { libc::execvp(self.pointers[0], self.pointers.as_ptr()) };
        last_errno()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_an_argument_is_refused() {
        assert_eq!(Argv::new(&["true", "a\0b"]).err(), Some(ArgvError::Nul(1)));
        assert_eq!(Argv::new(&[] as &[&str]).err(), Some(ArgvError::Empty));
        assert_eq!(Argv::new(&["/nowhere/to/be/found"]).expect("fine").exec(), Errno::NOENT);
    }
}
