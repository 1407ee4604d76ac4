//! What may be asked, and answers for people.

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SQLOptions;
use std::fmt::Display;
use std::sync::Arc;

/// What is asked may read, and nothing else.
pub fn only_questions() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}

/// A table. Programs choose their names: what a terminal would obey is shown as it is written in Rust.
///
/// # Errors
/// Something has no text.
pub fn for_people(batches: &[RecordBatch]) -> Result<impl Display, ArrowError> {
    let batches = batches.iter().map(as_texts).collect::<Result<Vec<_>, _>>()?;
    pretty_format_batches(&batches)
}

fn as_texts(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let options = FormatOptions::default();
    let texts = |column: &ArrayRef| {
        let formatter = ArrayFormatter::try_new(column, &options)?;
        let texts = (0..column.len()).map(|row| harmless(&formatter.value(row).to_string()));
        Ok(Arc::new(texts.map(Some).collect::<StringArray>()) as ArrayRef)
    };
    let columns = batch.columns().iter().map(texts).collect::<Result<Vec<_>, ArrowError>>()?;
    let schema = batch.schema();
    let fields = schema.fields().iter().map(|field| Field::new(field.name(), DataType::Utf8, true));
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns)
}

fn harmless(text: &str) -> String {
    let shown = |letter: char| match letter.is_control() {
        true => letter.escape_debug().to_string(),
        false => letter.to_string(),
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_commands_no_terminal() {
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("\u{1b}[31m\nfio"), None, Some("ä\"b")]));
        let batch = RecordBatch::try_from_iter_with_nullable([("program", names, true)]).expect("a batch");
        let shown = for_people(&[batch]).expect("texts").to_string();
        let lines: Vec<_> = shown.lines().map(|line| line.trim_matches(['|', ' '])).collect();
        assert_eq!(lines[3..6], ["\\u{1b}[31m\\nfio", "", "ä\"b"], "{shown}");
    }
}
