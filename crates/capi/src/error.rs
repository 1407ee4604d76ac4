//! Errors as C programs get them: a code, text, and for policies everything that is wrong with them.

use crate::abi::{self, Code};
use crate::string::{c_string, number};
use ringwarden::EnforceError;
use ringwarden::kernel::Lacking;
use ringwarden::policy::file::{FileError, Unreadable};
use ringwarden::policy::{Diagnostic, Diagnostics};
use std::any::Any;
use std::ffi::{CStr, CString, c_int};
use std::ptr::null;

/// `struct ringwarden_error`: what is wrong. Warnings are told by one, too, whose code is [`Code::Ok`].
#[derive(Debug)]
pub struct Error {
    code: Code,
    errno: c_int,
    text: CString,
    diagnostics: Vec<Entry>,
}

/// A diagnostic, as long as its error lives.
#[derive(Debug)]
struct Entry {
    id: CString,
    file: CString,
    message: CString,
    help: Option<CString>,
    line: u32,
    column: u32,
}

/// Why a function fails. Making an [`Error`] of it may allocate memory, which is left out where nobody wants one.
pub(crate) trait Fault {
    fn code(&self) -> Code;
    fn into_error(self) -> Error;
}

impl Fault for Error {
    fn code(&self) -> Code {
        self.code
    }

    fn into_error(self) -> Error {
        self
    }
}

impl Error {
    pub(crate) fn new(code: Code, text: &str) -> Self {
        Self { code, errno: 0, text: c_string(text), diagnostics: Vec::new() }
    }

    pub(crate) fn with_errno(self, errno: c_int) -> Self {
        Self { errno, ..self }
    }

    /// An argument is wrong: which one, and why.
    pub(crate) fn argument(name: &str, why: &str) -> Self {
        Self::new(Code::Argument, &format!("`{name}` {why}"))
    }

    /// What the library got wrong itself, as far as its panic tells.
    pub(crate) fn panicked(payload: &(dyn Any + Send)) -> Self {
        let said = payload.downcast_ref::<&str>().copied();
        let said = said.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
        Self::new(Code::Internal, &format!("a fault of the library's: {said}"))
    }

    /// All of that as warnings.
    pub(crate) fn warnings(diagnostics: &Diagnostics) -> Self {
        Self { code: Code::Ok, ..diagnostics.into() }
    }

    pub(crate) fn errno(&self) -> c_int {
        self.errno
    }

    pub(crate) fn text(&self) -> &CStr {
        &self.text
    }

    pub(crate) fn count(&self) -> usize {
        self.diagnostics.len()
    }

    /// One diagnostic, from 0.
    pub(crate) fn diagnostic(&self, index: usize) -> Option<abi::Diagnostic> {
        let Entry { id, file, message, help, line, column } = self.diagnostics.get(index)?;
        Some(abi::Diagnostic {
            id: id.as_ptr(),
            file: file.as_ptr(),
            message: message.as_ptr(),
            help: help.as_ref().map_or(null(), |help| help.as_ptr()),
            line: *line,
            column: *column,
            reserved: [0; 2],
        })
    }
}

impl From<&Diagnostic> for Entry {
    fn from(diagnostic: &Diagnostic) -> Self {
        let (line, column) = diagnostic.place();
        Self {
            id: c_string(diagnostic.code().as_str()),
            file: c_string(diagnostic.file()),
            message: c_string(diagnostic.message()),
            help: diagnostic.suggestion().map(c_string),
            line: number(line),
            column: number(column),
        }
    }
}

impl From<&Diagnostics> for Error {
    fn from(diagnostics: &Diagnostics) -> Self {
        let entries = diagnostics.iter().map(Entry::from).collect();
        Self { diagnostics: entries, ..Self::new(Code::Policy, &diagnostics.render(false)) }
    }
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        let errno = match &error {
            FileError::Wrong(diagnostics) => return diagnostics.into(),
            FileError::Unreadable { reason: Unreadable::Io { error, .. }, .. } => error.raw_os_error(),
            _ => None,
        };
        Self::new(Code::File, &error.to_string()).with_errno(errno.unwrap_or(0))
    }
}

impl From<EnforceError> for Error {
    fn from(error: EnforceError) -> Self {
        let code = match &error {
            EnforceError::Policy(diagnostics) => return diagnostics.into(),
            EnforceError::NoLayer => Code::Argument,
            _ => Code::Internal,
        };
        Self::new(code, &error.to_string())
    }
}

impl From<Lacking> for Error {
    fn from(lacking: Lacking) -> Self {
        Self::new(Code::Lacking, &lacking.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    #[test]
    fn a_panic_is_told_in_its_own_words() {
        for attempt in [|| panic!("plain"), || panic!("{}", "plain")] as [fn(); 2] {
            let payload = catch_unwind(attempt).expect_err("it panics");
            let error = Error::panicked(&*payload);
            assert_eq!(error.code(), Code::Internal);
            assert_eq!(error.text().to_str(), Ok("a fault of the library's: plain"));
        }
    }
}
