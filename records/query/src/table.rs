//! The table of records.

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::named_struct;
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::prelude::{DataFrame, ParquetReadOptions, SessionContext};
use ringwarden_records::columns::{SCHEMA, SHOWN};
use std::sync::Arc;

/// Its name.
pub const TABLE: &str = "requests";

/// What filters see of a request, as one column.
pub fn context() -> Expr {
    let columns = SHOWN.iter().map(|(name, _)| *name).chain(["complete"]);
    named_struct(columns.flat_map(|name| [lit(name), col(name)]).collect()).alias("context")
}

/// The schema with texts as such: Ballista does not send dictionaries between executors.
pub(crate) fn plain() -> Schema {
    let field = |field: &Arc<Field>| match field.data_type() {
        DataType::Dictionary(_, texts) => field.as_ref().clone().with_data_type(texts.as_ref().clone()),
        _ => field.as_ref().clone(),
    };
    Schema::new(SCHEMA.fields().iter().map(field).collect::<Vec<_>>())
}

/// Records, with `context` beside their columns, as a table whose plan can travel: paths, or URLs of stores that the session
/// knows. Nothing is checked but what DataFusion checks; [`records`](crate::records()) does more.
///
/// # Errors
/// One of them cannot be read.
pub async fn table(session: &SessionContext, files: &[String]) -> Result<DataFrame> {
    let schema = plain();
    let options = ParquetReadOptions::default().schema(&schema);
    with_context(session.read_parquet(files.to_vec(), options).await?)
}

/// The columns of records, and `context`.
pub(crate) fn with_context(records: DataFrame) -> Result<DataFrame> {
    let mut columns: Vec<_> = SCHEMA.fields().iter().map(|field| col(field.name())).collect();
    columns.push(context());
    records.select(columns)
}
