//! [`ReadError`]: why a text is not a profile, and where.

/// Why a text is not a profile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is no JSON or YAML, or not a profile.
    #[error("{line}:{column}: {message}")]
    Place {
        /// The line, from 1.
        line: usize,
        /// The column, from 1; 0 at the end of a line.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// A list has no profile of the name that was asked for, or several and none was.
    #[error("{}", choice(names))]
    Choice {
        /// The profiles that it has, with their namespaces.
        names: Vec<String>,
    },
}

impl ReadError {
    /// The error that is about the file, and no place in it.
    pub(crate) fn whole(message: impl Into<String>) -> Self {
        Self::Place { line: 1, column: 1, message: message.into() }
    }
}

fn choice(names: &[String]) -> String {
    match names {
        [] => "there is no seccomp profile in this list".to_owned(),
        names => format!("choose a profile by `--name`: {}", names.join(", ")),
    }
}

impl From<serde_json::Error> for ReadError {
    fn from(error: serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let place = format!(" at line {line} column {column}");
        Self::Place { line, column, message: text.strip_suffix(&place).unwrap_or(&text).to_owned() }
    }
}
