//! The program that answers questions about records. People call it by `ringwarden query`.

#![forbid(unsafe_code)]

use clap::{Args, Parser, Subcommand, ValueEnum};
use datafusion::arrow::json::ArrayWriter;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use ringwarden_query::{TABLE, functions, table};
use ringwarden_records::Record;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

/// SQL on recorded io_uring requests.
#[derive(Parser)]
#[command(name = "ringwarden-query", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Query(Query),
}

/// Answer a question in SQL about recorded requests, with the verdict under a policy as a function.
///
/// The table is `requests`, a row for each request: docs/records.md has its columns. `verdict('new.toml', context)` is what
/// a policy says about a request, `rule('new.toml', context)` the rule that refuses it.
#[derive(Args)]
#[command(after_help = AFTER_HELP)]
struct Query {
    /// The question
    #[arg(value_name = "SQL")]
    sql: String,
    /// Records, as `ringwarden run --record` writes them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// How many MiB sorting and grouping may take; more goes to temporary files
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    memory: usize,
}

const AFTER_HELP: &str = "\
Exit status: 0, or 2 when there is no answer

Examples:
  ringwarden query \"SELECT op, count(*) FROM requests GROUP BY op ORDER BY 2 DESC\" *.parquet
  ringwarden query \"SELECT program, op, rule('new.toml', context) AS rule, count(*) FROM requests
     WHERE verdict = 'allow' AND verdict('new.toml', context) = 'deny' GROUP BY 1, 2, 3\" *.parquet";

/// Exit status when there is no answer.
const UNUSABLE: u8 = 2;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table
    Human,
    /// An array of objects, one for each row
    Json,
}

fn main() -> ExitCode {
    let Command::Query(query) = CommandLine::parse().command;
    match query.answer() {
        Ok(text) => match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("cannot write to standard output: {error}")),
        },
        Err(reason) => fail(&reason),
    }
}

fn fail(reason: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {reason}");
    ExitCode::from(UNUSABLE)
}

impl Query {
    fn answer(&self) -> Result<String, String> {
        for file in &self.files {
            let record = Record::open(Path::new(file)).map_err(|error| error.to_string())?;
            for group in 0..record.row_groups() {
                record.check_pages(group, None).map_err(|error| error.to_string())?;
            }
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        runtime.block_on(self.ask()).map_err(|error| match error.find_root() {
            DataFusionError::Plan(reason) => reason.clone(),
            other => other.to_string(),
        })
    }

    async fn ask(&self) -> Result<String, DataFusionError> {
        let runtime = RuntimeEnvBuilder::new().with_memory_limit(self.memory << 20, 1.0).build_arc()?;
        let session = SessionContext::new_with_config_rt(SessionConfig::new(), runtime);
        functions().into_iter().for_each(|function| session.register_udf(function));
        session.register_table(TABLE, table(&session, &self.files).await?.into_view())?;
        let only_questions =
            SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let answer = session.sql_with_options(&self.sql, only_questions).await?;
        let batches = answer.collect().await?;
        match self.format {
            Format::Human => Ok(format!("{}\n", pretty_format_batches(&batches)?)),
            Format::Json => {
                let mut writer = ArrayWriter::new(Vec::new());
                writer.write_batches(&batches.iter().collect::<Vec<_>>())?;
                writer.finish()?;
                let mut text = String::from_utf8_lossy(&writer.into_inner()).into_owned();
                text.push('\n');
                Ok(text)
            }
        }
    }
}
