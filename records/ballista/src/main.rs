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
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use datafusion::prelude::{SessionConfig, SessionContext};
use ringwarden_query::{TABLE, functions, table};
use std::error::Error;
use std::sync::Arc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
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
        ["query", scheduler, sql, files @ ..] => {
            let session = SessionContext::remote_with_state(&format!("df://{scheduler}"), state()).await?;
            // Those of the state are replaced by Ballista's.
            functions().into_iter().chain([executor()]).for_each(|function| session.register_udf(function));
            let files: Vec<_> = files.iter().map(|file| (*file).to_owned()).collect();
            session.register_table(TABLE, table(&session, &files).await?.into_view())?;
            let batches = session.sql(sql).await?.collect().await?;
            println!("{}", pretty_format_batches(&batches)?);
            Ok(())
        }
        _ => Err("ballista scheduler | executor ADDRESS | query ADDRESS SQL FILE…".into()),
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
