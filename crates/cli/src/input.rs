//! What commands read: files, and standard input where `-` is named.

use ringwarden::policy::file;
use std::fs::File;
use std::io::{self, Read};
use std::sync::OnceLock;

/// Standard input, as a command line names it.
pub(crate) const STDIN: &str = "-";

/// The bytes of a file, at most `most` and one.
pub(crate) fn bytes(name: &str, most: u64) -> Result<Vec<u8>, String> {
    // Whoever names it twice means the same text.
    static READ: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
    let all = |from: &mut dyn Read| {
        let mut bytes = Vec::new();
        from.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let told = |error: io::Error| error.to_string();
    match name {
        STDIN => READ.get_or_init(|| all(&mut io::stdin().lock()).map_err(told)).clone(),
        _ => File::open(name).and_then(|mut file| all(&mut file)).map_err(told),
    }
}

/// The text of a file of at most `most` bytes.
pub(crate) fn text(name: &str, most: u64) -> Result<String, String> {
    let bytes = bytes(name, most)?;
    if bytes.len() as u64 > most {
        return Err(format!("it is longer than {} MiB", most >> 20));
    }
    file::text(bytes).map_err(|reason| reason.to_string())
}
