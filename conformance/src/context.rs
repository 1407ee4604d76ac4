//! What a filter sees of one request.

use crate::script::kernels;
use crate::{Kernels, Request};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A request and the words of the context it shows, alone on a fresh ring.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Raw")]
pub struct ContextCase {
    /// What it shows.
    pub name: String,
    /// The kernels it is about.
    pub kernels: Kernels,
    /// The request.
    pub request: Request,
    /// The ten words, in order. Those at bytes 0 and 4 are the halves of the case's `user_data`.
    pub words: [u32; 10],
    /// The `user_data` to submit it with.
    pub user_data: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    since: Option<String>,
    until: Option<String>,
    request: String,
    #[serde(default)]
    user_data: u64,
    words: BTreeMap<String, u32>,
}

impl TryFrom<Raw> for ContextCase {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let mut words = [0; 10];
        for (offset, &value) in &raw.words {
            let word = offset
                .parse()
                .ok()
                .filter(|offset: &usize| offset.is_multiple_of(4))
                .map(|offset| offset / 4);
            *word
                .and_then(|word| words.get_mut(word))
                .ok_or_else(|| format!("no word at byte {offset}"))? = value;
        }
        Ok(Self {
            kernels: kernels(raw.since.as_deref(), raw.until.as_deref())?,
            request: raw.request.parse()?,
            name: raw.name,
            words,
            user_data: raw.user_data,
        })
    }
}
