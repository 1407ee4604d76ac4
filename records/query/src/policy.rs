//! Policies as an argument of a function: by name, and as the text that travels with a query.

use ringwarden::policy::Policy;
use ringwarden_records::Judge;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Compiled policies that are kept for the next batch.
const MOST_KEPT: usize = 64;

/// The files of each policy, names and texts.
#[derive(Serialize, Deserialize)]
struct Texts {
    policies: Vec<Vec<(String, String)>>,
}

/// The text that stands for policies wherever it is read.
///
/// # Errors
/// One of them cannot be read, or is none.
pub(crate) fn text(argument: &str) -> Result<String, String> {
    if is_text(argument) {
        return Ok(argument.to_owned());
    }
    let policies = argument.split(',').map(|name| {
        let policy = Policy::from_file(name.trim()).map_err(|error| error.to_string())?;
        let files = policy.files().into_iter();
        Ok(files.map(|(name, text)| (name.to_owned(), text.to_owned())).collect())
    });
    let texts = Texts { policies: policies.collect::<Result<_, String>>()? };
    serde_json::to_string(&texts).map_err(|error| error.to_string())
}

fn is_text(argument: &str) -> bool {
    argument.starts_with('{')
}

/// The judge of policies, compiled once.
///
/// # Errors
/// They cannot be used.
pub(crate) fn judge(argument: &str) -> Result<Arc<Judge>, String> {
    static KEPT: LazyLock<Mutex<HashMap<String, Arc<Judge>>>> = LazyLock::new(Mutex::default);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(judge) = kept.get(argument) {
        return Ok(Arc::clone(judge));
    }
    let texts: Texts = serde_json::from_str(&text(argument)?).map_err(|error| error.to_string())?;
    let policies = texts.policies.iter().map(|files| Policy::from_files(files));
    let policies = policies.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let judge = Arc::new(Judge::new(&policies).map_err(|error| error.to_string())?);
    if kept.len() >= MOST_KEPT {
        kept.clear();
    }
    // A file may have another text the next time.
    if is_text(argument) {
        kept.insert(argument.to_owned(), Arc::clone(&judge));
    }
    Ok(judge)
}
