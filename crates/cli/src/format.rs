//! `--format`: for people, or for scripts.

use crate::{FAILED, style};
use clap::ValueEnum;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::{Value, json};
use std::process::ExitCode;

/// How a report is written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text
    Human,
    /// One JSON object
    Json,
}

/// What is written for scripts: an object, whose first key is `version`. Within a version keys are added, and nothing
/// else changes (docs/json.md).
pub(crate) trait Document: Serialize + JsonSchema {
    /// Grows when a key goes, or means something else.
    const VERSION: u32 = 1;
}

/// A document with its version.
#[derive(Serialize)]
pub(crate) struct Versioned<D> {
    version: u32,
    #[serde(flatten)]
    document: D,
}

impl<D: Document> From<D> for Versioned<D> {
    fn from(document: D) -> Self {
        Self { version: D::VERSION, document }
    }
}

impl<D: Document> Document for &D {
    const VERSION: u32 = D::VERSION;
}

/// Prints a report as JSON; `status` once that is done.
pub(crate) fn json(report: &impl Document, status: ExitCode) -> ExitCode {
    match serde_json::to_string_pretty(&Versioned::from(report)) {
        Ok(text) => {
            style::print(format_args!("{text}"));
            status
        }
        Err(error) => style::fail(error, FAILED),
    }
}

/// The JSON Schema (2020-12) of a document.
pub(crate) fn schema<D: Document>(title: &str) -> Schema {
    let mut schema =
        SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<D>();
    let version =
        json!({ "const": D::VERSION, "description": "Grows when a key goes, or means something else." });
    schema.insert("title".to_owned(), title.into());
    let object = schema.ensure_object();
    // The keys of one of several forms come from it; this one is before all of them.
    let properties = object.entry("properties").or_insert_with(|| json!({}));
    if let Value::Object(properties) = properties {
        let others = std::mem::take(properties);
        properties.insert("version".to_owned(), version);
        properties.extend(others);
    }
    let required = object.entry("required").or_insert_with(|| json!([]));
    if let Value::Array(required) = required {
        required.insert(0, "version".into());
    }
    schema
}
