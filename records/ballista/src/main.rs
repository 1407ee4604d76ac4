//! The same questions on many machines: a scheduler and executors of Ballista that know `verdict` and `rule`.
//!
//! ```text
//! ringwarden-ballista scheduler                        prints its address
//! ringwarden-ballista executor ADDRESS                 as many as there are machines; each must see the files
//! ringwarden-ballista query ADDRESS "SELECT …" FILE…
//! ```
//!
//! Beside the functions of `ringwarden query` there is `executor(opcode)`, the number of the process that looks at a row.
//! Everything is on loopback here; nothing is encrypted, and nobody is asked who they are.

use ballista::prelude::SessionContextExt;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use datafusion::arrow::array::Int64Array;
use datafusion::arrow::datatypes::DataType;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use datafusion::prelude::{SessionConfig, SessionContext};
use ringwarden_query::{TABLE, for_people, functions, only_questions, records, table};
use rustix::fs::Mode;
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

/// Exit status when there is no answer, or nothing to serve.
const UNUSABLE: u8 = 2;

const USAGE: &str = "\
usage: ringwarden-ballista scheduler                        prints its address
       ringwarden-ballista executor ADDRESS
       ringwarden-ballista query ADDRESS SQL FILE...        the files as `ringwarden query` has them";

#[tokio::main]
async fn main() -> ExitCode {
    // What records have is not for everybody, nor are executors' temporary files with it.
    rustix::process::umask(Mode::from_raw_mode(0o077));
    match serve_or_ask().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(UNUSABLE)
        }
    }
}

async fn serve_or_ask() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match &arguments[..] {
        ["scheduler"] => {
            let address =
                ballista_scheduler::standalone::new_standalone_scheduler_from_state(&state()).await?;
            println!("localhost:{}", address.port());
            std::future::pending().await
        }
        ["executor", scheduler] => {
            let scheduler = SchedulerGrpcClient::connect(format!("http://{scheduler}")).await?;
            ballista_executor::new_standalone_executor_from_state(scheduler, 1, &state()).await?;
            println!("{}", std::process::id());
            std::future::pending().await
        }
        ["query", scheduler, sql, files @ ..] if !files.is_empty() => {
            let session = SessionContext::remote_with_state(&format!("df://{scheduler}"), state()).await?;
            // Those of the state are replaced by Ballista's.
            functions().into_iter().chain([executor()]).for_each(|function| session.register_udf(function));
            let files: Vec<_> = files.iter().map(|file| (*file).to_owned()).collect();
            // Whether they are there, and records, is asked here: elsewhere none is one without rows.
            let (_, lost) = records(&SessionContext::new(), &files, &Arc::default()).await?;
            if lost > 0 {
                eprintln!("note: {lost} more requests came too fast to be recorded");
            }
            session.register_table(TABLE, table(&session, &files).await?.into_view())?;
            let batches = session.sql_with_options(sql, only_questions()).await?.collect().await?;
            println!("{}", for_people(&batches)?);
            Ok(())
        }
        ["--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => Err(USAGE.into()),
    }
}

fn state() -> SessionState {
    let mut functions: Vec<_> = functions().into_iter().map(Arc::new).collect();
    functions.push(Arc::new(executor()));
    let mut state = SessionStateBuilder::new()
        .with_config(SessionConfig::new().with_target_partitions(8))
        .with_default_features()
        .build();
    for function in functions {
        use datafusion::execution::FunctionRegistry;
        // None of that name was there.
        let _ = state.register_udf(function);
    }
    state
}

/// Which process looks at a row.
fn executor() -> ScalarUDF {
    let number = |arguments: &[ColumnarValue]| {
        let ColumnarValue::Array(array) = &arguments[0] else { return Ok(arguments[0].clone()) };
        let numbers = Int64Array::from(vec![i64::from(std::process::id()); array.len()]);
        Ok(ColumnarValue::Array(Arc::new(numbers)))
    };
    create_udf("executor", vec![DataType::UInt8], DataType::Int64, Volatility::Volatile, Arc::new(number))
}
