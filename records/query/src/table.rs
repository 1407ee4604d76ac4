//! The table of records.

use datafusion::error::Result;
use datafusion::functions::core::expr_fn::named_struct;
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::prelude::{DataFrame, ParquetReadOptions, SessionContext};
use ringwarden_records::columns::{SCHEMA, SHOWN};

/// Its name.
pub const TABLE: &str = "requests";

/// What filters see of a request, as one column.
pub fn context() -> Expr {
    let columns = SHOWN.iter().map(|(name, _)| *name).chain(["complete"]);
    named_struct(columns.flat_map(|name| [lit(name), col(name)]).collect()).alias("context")
}

/// Records, with `context` beside their columns: paths, or URLs of stores that the session knows.
///
/// # Errors
/// One of them cannot be read.
pub async fn table(session: &SessionContext, files: &[String]) -> Result<DataFrame> {
    let options = ParquetReadOptions::default().schema(&SCHEMA);
    let records = session.read_parquet(files.to_vec(), options).await?;
    let mut columns: Vec<_> = SCHEMA.fields().iter().map(|field| col(field.name())).collect();
    columns.push(context());
    records.select(columns)
}
