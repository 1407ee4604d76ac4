//! Policies in files: what names lead to, read and parsed ([`Policy::from_file`]).

use crate::data::preset::{Preset, UnknownPreset};
use crate::diagnostic::Diagnostics;
use crate::document::Base;
use crate::policy::Policy;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The most bytes of a policy.
pub const LONGEST: u64 = 16 << 20;

/// Why there is no policy in a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be read, or there is no such preset.
    #[error("cannot read policy `{name}`: {reason}")]
    Unreadable {
        /// As it was named.
        name: String,
        /// Why not.
        reason: Unreadable,
    },
    /// It is no policy, or one of those that it extends is not.
    #[error(transparent)]
    Wrong(#[from] Diagnostics),
}

/// Why there is no text of a policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// The system cannot read it.
    #[error("{error}{}", there_is(*.preset))]
    Io {
        /// Why not.
        error: io::Error,
        /// The preset that may have been meant.
        preset: Option<&'static Preset>,
    },
    /// A name with an `@` is none of a preset.
    #[error(transparent)]
    Preset(#[from] UnknownPreset),
    /// It is a pipe, a device or a folder.
    #[error("it is not a file")]
    NotAFile,
    /// It has more bytes than [`LONGEST`].
    #[error("it is longer than {} MiB", LONGEST >> 20)]
    TooLong,
    /// It is not UTF-8.
    #[error("it is not UTF-8: byte {at} (line {line}) is {byte:#04x}{}", if *.is_utf16 { "; it looks like UTF-16" } else { "" })]
    NotUtf8 {
        /// The first byte that is wrong, from 0.
        at: usize,
        /// Its line, from 1.
        line: usize,
        /// Its value.
        byte: u8,
        /// The text begins as UTF-16 does.
        is_utf16: bool,
    },
    /// Its name is not UTF-8, so that no diagnostic could tell it.
    #[error("its name is not UTF-8")]
    Name,
}

fn there_is(preset: Option<&Preset>) -> String {
    preset.map(|preset| format!("; there is a preset `{}`", preset.name)).unwrap_or_default()
}

impl Policy {
    /// The policy in a file, with those that it extends: their names are relative to the file that names them. A path
    /// that begins with `@` is the name of a [preset](crate::PRESETS).
    ///
    /// ```no_run
    /// use ringwarden_policy::Policy;
    ///
    /// let own = Policy::from_file("/etc/ringwarden/policies/web.toml")?;
    /// let preset = Policy::from_file("@net-server")?;
    /// # Ok::<(), ringwarden_policy::file::FileError>(())
    /// ```
    ///
    /// # Errors
    /// The file cannot be read, or everything that is wrong with it and with those that it extends.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        let unreadable = |reason| FileError::Unreadable { name: path.display().to_string(), reason };
        let name = path.to_str().ok_or_else(|| unreadable(Unreadable::Name))?;
        Ok(parse(&read(name).map_err(unreadable)?, name)?)
    }

    /// The policy whose [`files`](Self::files) these are, names and texts: no file is read, so that it is the same in another
    /// process, user or folder. The first is the policy's own.
    ///
    /// # Errors
    /// Everything that is wrong with it; that it extends a file which is not among these is one of them.
    pub fn from_files(files: &[(impl AsRef<str>, impl AsRef<str>)]) -> Result<Self, Diagnostics> {
        let files = files.iter().map(|(name, text)| (name.as_ref(), text.as_ref()));
        let (name, text) = files.clone().next().unwrap_or_default();
        Self::parse_with(text, name, |base, file| {
            let named = named_beside(base, file).map_err(|reason| reason.to_string())?;
            let found = files.clone().find(|(name, _)| *name == named);
            let (_, text) = found.ok_or_else(|| format!("there is no `{named}` among the policy's files"))?;
            Ok(Base { file: named, text: text.to_owned() })
        })
    }
}

/// The policy of a text, as it is in the file of that name: others that it names are relative to it.
///
/// # Errors
/// Everything that is wrong with it and with those that it extends.
pub fn parse(text: &str, name: &str) -> Result<Policy, Diagnostics> {
    Policy::parse_with(text, name, |base, file| beside(base, file).map_err(|reason| reason.to_string()))
}

/// The policy that `file` names `base`. Relative to the file, so that a folder of policies can be moved.
fn beside(base: &str, file: &str) -> Result<Base, Unreadable> {
    let file = named_beside(base, file)?;
    lasting(Path::new(&file))?;
    let text = read(&file)?;
    Ok(Base { file, text })
}

fn named_beside(base: &str, file: &str) -> Result<String, Unreadable> {
    let path = Path::new(file).parent().map_or_else(|| PathBuf::from(base), |folder| folder.join(base));
    path.into_os_string().into_string().map_err(|_| Unreadable::Name)
}

/// Refuses a pipe or a device, which would be waited for, and has nothing to say the second time.
///
/// # Errors
/// [`Unreadable::NotAFile`].
pub fn lasting(path: &Path) -> Result<(), Unreadable> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(Unreadable::NotAFile),
        // What else may be wrong shows where it is read.
        _ => Ok(()),
    }
}

/// The text of a policy: of a file or, where the name begins with `@`, of a preset.
///
/// # Errors
/// Why there is none.
pub fn read(name: &str) -> Result<String, Unreadable> {
    if name.starts_with('@') {
        return Ok(Preset::find(name)?.text.to_owned());
    }
    let mut bytes = Vec::new();
    File::open(name)
        .and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| Unreadable::Io { error, preset: Preset::named(&format!("@{name}")) })?;
    if bytes.len() as u64 > LONGEST { Err(Unreadable::TooLong) } else { text(bytes) }
}

/// The text that some bytes are.
///
/// # Errors
/// [`Unreadable::NotUtf8`].
pub fn text(bytes: Vec<u8>) -> Result<String, Unreadable> {
    String::from_utf8(bytes).map_err(|error| {
        let (at, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
        let line = 1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count();
        let is_utf16 = matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
        Unreadable::NotUtf8 { at, line, byte: bytes[at], is_utf16 }
    })
}
