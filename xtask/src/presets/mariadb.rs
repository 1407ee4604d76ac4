//! MariaDB with InnoDB's native asynchronous input and output: a table that does not fit into memory is filled,
//! changed and checked.

use super::launch::{self, Launch};
use super::root::Root;
use super::server::Server;
use crate::debian::output;
use anyhow::{Context, ensure};
use rustix::process::Signal;
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

const PRESET: &str = "@mariadb";
/// Small files, and less memory than the table needs.
const SETTINGS: [&str; 4] =
    ["--no-defaults", "--datadir=/run/data", "--innodb-log-file-size=8M", "--innodb-buffer-pool-size=8M"];
/// Doublings of the table: 1,000 bytes a row, so 16 MB.
const DOUBLINGS: u32 = 14;

pub(super) fn run(root: &Root) -> anyhow::Result<()> {
    let run = root.empty_run()?;
    launch::is_held_by_the_kernel(root, PRESET)?;
    create(root, &run)?;
    for launch in [Launch::Under(PRESET), Launch::Audited(PRESET)] {
        work(root, &run, launch)?;
    }
    launch::nothing_was_refused(&run)
}

/// Makes the system tables, as the package's script does that.
fn create(root: &Root, run: &Path) -> anyhow::Result<()> {
    let mut statements = "create database mysql;\nuse mysql;\n".to_owned();
    for file in ["mariadb_system_tables.sql", "mariadb_system_tables_data.sql"] {
        let file = root.path().join("usr/share/mariadb").join(file);
        statements += &fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    }
    let file = run.join("system.sql");
    fs::write(&file, statements)?;
    let data = run.join("data");
    fs::create_dir(&data)?;
    root.give(&data)?;
    let mut bootstrap = Launch::Under(PRESET).command(root, "mariadbd");
    output(bootstrap.args(SETTINGS).arg("--bootstrap").stdin(File::open(file)?)).map(drop)
}

fn work(root: &Root, run: &Path, launch: Launch) -> anyhow::Result<()> {
    let mut command = launch.command(root, "mariadbd");
    command.args(SETTINGS).args(["--skip-networking", "--skip-grant-tables", "--socket=/run/socket"]);
    command.arg("--pid-file=/run/mariadbd.pid");
    let server = Server::start(root, run, command)?;
    let ask = |statements: &str| {
        let mut client = root.command("mariadb");
        client.args(["--no-defaults", "--socket=/run/socket", "-Nre", statements]).stdin(Stdio::null());
        output(&mut client)
            .map(|said| said.trim().to_owned())
            .with_context(|| server.log().unwrap_or_default())
    };
    ensure!(
        ask("select @@innodb_use_native_aio")? == "1",
        "InnoDB does not use io_uring:\n{}",
        server.log()?
    );
    ask(
        "create or replace database work; create table work.t (id int primary key auto_increment,
         n int, text varchar(1000)) engine=innodb; insert into work.t (n, text) values (1, repeat('x', 1000))",
    )?;
    for _ in 0..DOUBLINGS {
        ask("insert into work.t (n, text) select n, text from work.t")?;
    }
    ask("update work.t set n = n + 1 where id % 2 = 0; alter table work.t add index (n)")?;
    let rows: u64 = 1 << DOUBLINGS;
    let sums = ask("select count(*), sum(n) = count(*) + sum(id % 2 = 0) from work.t")?;
    ensure!(sums == format!("{rows}\t1"), "{rows} rows, but the table says {sums}");
    let checked = ask("check table work.t extended")?;
    ensure!(checked.ends_with("OK"), "{checked}");
    let requests = server.requests("mariadbd.pid")?;
    // The table has 1,000 pages, and the buffer pool half as many.
    ensure!(requests > 500, "only {requests} requests through io_uring");
    let version = ask("select version()")?;
    // SIGTERM shuts it down, as systemd does.
    server.stop(Signal::TERM)?;
    let how = launch.how();
    println!("MariaDB {version} under {PRESET}{how}: {rows} rows, {requests} requests by the kernel's count");
    Ok(())
}
