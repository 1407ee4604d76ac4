//! [`Metadata`]: what a record says of itself, as key-value metadata of the file.

use crate::limits::MOST_TEXT;
use parquet::file::metadata::KeyValue;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The key of what stands for the others.
const KEY: &str = "ringwarden.record";
/// The form that this version writes and reads.
const VERSION: u32 = 1;

/// What a record says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Metadata {
    version: u32,
    /// The kernel model whose context the columns are: `guard`.
    pub model: String,
    /// The policies that were in force.
    pub policies: Vec<PolicyText>,
    /// The rings that were asked for.
    pub rings: Rings,
    /// The `io_uring_register` calls, by the number of their opcode.
    pub register: BTreeMap<u32, u64>,
    /// The rows of the file.
    pub requests: u64,
    /// How many more there were of which nothing is known: they came too fast to be told of.
    #[serde(default)]
    pub lost: u64,
}

/// A file of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyText {
    /// Its name.
    pub file: String,
    /// What was in it.
    pub text: String,
}

/// The rings that were asked for, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rings {
    /// How many.
    pub rings: u64,
    /// Every `IORING_SETUP_*` of some ring.
    pub flags: u32,
    /// The most SQEs of a ring.
    pub entries: u32,
    /// The most CQEs that were asked for.
    pub cq_entries: u32,
}

impl Metadata {
    /// Of what was judged as that model shows it, under those policies.
    pub fn new(model: String, policies: Vec<PolicyText>) -> Self {
        Self { version: VERSION, model, policies, ..Self::default() }
    }

    /// Adds a ring.
    pub(crate) fn ring(&mut self, entries: u32, flags: u32, cq_entries: u32) {
        let rings = &mut self.rings;
        rings.rings += 1;
        rings.flags |= flags;
        rings.entries = rings.entries.max(entries);
        rings.cq_entries = rings.cq_entries.max(cq_entries);
    }

    pub(crate) fn to_key_value(&self) -> Result<KeyValue, serde_json::Error> {
        Ok(KeyValue::new(KEY.to_owned(), serde_json::to_string(self)?))
    }

    /// # Errors
    /// It is not there, or of another version, or not what it has to be.
    pub(crate) fn find(all: Option<&Vec<KeyValue>>) -> Result<Self, String> {
        let text =
            all.into_iter().flatten().find(|pair| pair.key == KEY).and_then(|pair| pair.value.as_ref());
        let text =
            text.ok_or("it is no record of requests: it has no `ringwarden.record` in its metadata")?;
        if text.len() > MOST_TEXT {
            return Err(format!("its metadata is longer than {} MiB", MOST_TEXT >> 20));
        }
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let wrong = |error: serde_json::Error| format!("its metadata is wrong: {error}");
        match serde_json::from_str(text).map_err(wrong)? {
            Versioned { version: VERSION } => {}
            Versioned { version } => {
                return Err(format!("it has version {version}, and this program reads version {VERSION}"));
            }
        }
        let metadata: Self = serde_json::from_str(text).map_err(wrong)?;
        if metadata.model != "guard" {
            return Err(format!("it shows requests as the model `{}`, and not as `guard`", metadata.model));
        }
        Ok(metadata)
    }
}
