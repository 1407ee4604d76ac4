//! The program that answers questions about records. People call it by `ringwarden query`.

#![forbid(unsafe_code)]

use clap::{Args, Parser, Subcommand, ValueEnum};
use datafusion::arrow::json::WriterBuilder;
use datafusion::arrow::json::writer::JsonArray;
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use ringwarden_query::{TABLE, for_people, functions, only_questions, records};
use ringwarden_records::terminal::{Shown, tell};
use rustix::fs::Mode;
use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// Records, as `ringwarden run --record` writes them: files, folders of *.parquet, or URLs of object storage (s3://, gs://,
    /// az://, http://, https://), where a `*` stands for a part of a name
    #[arg(required = true, value_name = "FILE|URL")]
    files: Vec<String>,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// How many MiB sorting and grouping may take; more goes to temporary files
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    memory: usize,
}

const AFTER_HELP: &str = "\
Object storage is asked with what the environment has: AWS_*, GOOGLE_* and AZURE_* variables, such as
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL.

Exit status: 0, or 2 when there is no answer

Examples:
  ringwarden query \"SELECT op, count(*) FROM requests GROUP BY op ORDER BY 2 DESC\" *.parquet
  ringwarden query \"SELECT program, op, rule('new.toml', context) AS rule, count(*) FROM requests
     WHERE verdict = 'allow' AND verdict('new.toml', context) = 'deny' GROUP BY 1, 2, 3\" *.parquet
  ringwarden query \"SELECT program, count(*) FROM requests GROUP BY 1\" 's3://fleet/records/2026-03-*/*.parquet'";

/// What a thread may take for questions that are nested; only what is used is taken.
const STACK: usize = 64 << 20;

const DAMAGED: &str = "a record is damaged";

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
    // What records have is not for everybody, nor are temporary files with it.
    rustix::process::umask(Mode::from_raw_mode(0o077));
    // A library that panics at what a record has is told of as an error.
    std::panic::set_hook(Box::new(|_| {}));
    match query.answer() {
        Ok(text) => match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("cannot write to standard output: {error}")),
        },
        Err(reason) => fail(&reason),
    }
}

fn fail(reason: &str) -> ExitCode {
    tell(format_args!("error: {reason}"));
    ExitCode::from(UNUSABLE)
}

/// Why there is no answer: what is wrong with a record, if it is that.
fn reason(error: &DataFusionError) -> String {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(wrong) = error.downcast_ref::<ringwarden_records::Error>() {
            return wrong.to_string();
        }
        cause = error.source();
    }
    match error.find_root() {
        DataFusionError::Plan(reason) => reason.clone(),
        // Of a library's own task.
        other if other.to_string().contains(" panicked with message ") => DAMAGED.into(),
        other => other.to_string(),
    }
}

impl Query {
    fn answer(self) -> Result<String, String> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().thread_stack_size(STACK).enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        // Should a library panic at what a record has, that is an error.
        match runtime.block_on(runtime.spawn(self.ask())) {
            Ok(answer) => answer.map_err(|error| reason(&error)),
            Err(_) => Err(DAMAGED.into()),
        }
    }

    async fn ask(self) -> Result<String, DataFusionError> {
        let runtime = RuntimeEnvBuilder::new().with_memory_limit(self.memory << 20, 1.0).build_arc()?;
        let session = SessionContext::new_with_config_rt(SessionConfig::new(), runtime);
        functions().into_iter().for_each(|function| session.register_udf(function));
        let read = Arc::new(AtomicU64::new(0));
        let shown = Shown::new({
            let read = Arc::clone(&read);
            move |taken| {
                let mebibytes = read.load(Ordering::Relaxed) >> 20;
                format!("{mebibytes} MiB of records read in {} s", taken.as_secs())
            }
        });
        let (records, lost) = records(&session, &self.files, &read).await?;
        if lost > 0 {
            tell(format_args!("note: {lost} more requests came too fast to be recorded"));
        }
        session.register_table(TABLE, records.into_view())?;
        let answer = session.sql_with_options(&self.sql, only_questions()).await?;
        let batches = answer.collect().await?;
        drop(shown);
        match self.format {
            Format::Human => Ok(format!("{}\n", for_people(&batches)?)),
            Format::Json => {
                let mut writer =
                    WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
                writer.write_batches(&batches.iter().collect::<Vec<_>>())?;
                writer.finish()?;
                let mut text = String::from_utf8_lossy(&writer.into_inner()).into_owned();
                text.push('\n');
                Ok(text)
            }
        }
    }
}
