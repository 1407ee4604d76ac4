//! `cargo xtask bench verdicts`: how long a verdict takes, by what runs the programs, side by side in one run.
//!
//! Rounds of all engines alternate, and what is shown are medians: what the machine does meanwhile hits all of them.

mod cases;
mod pcap;

use super::{median, print_table};
use anyhow::ensure;
use cases::Case;
use pcap::Pcap;
use ringwarden_cbpf::{Machine, Program};
use ringwarden_filter::{Context, FilterSet, KernelModel, Payload, Registration, Verdict};
use ringwarden_uapi::Opcode;
use std::hint::black_box;
use std::time::Instant;

const MODEL: KernelModel = KernelModel::V7_3;
/// Verdicts in a round.
const REPEATED: usize = 20_000;

/// How long verdicts take, and registering what gives them
///
/// On contexts that are there, programs alone are compared, with libpcap's interpreter where the machine has it
/// (libpcap.so.0.8); and the way from an SQE to its verdict. Builds itself with --release.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only programs whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Rounds of each measurement
    #[arg(long, default_value_t = 101)]
    rounds: usize,
    /// Print Markdown tables
    #[arg(long)]
    markdown: bool,
}

/// One engine on one case: does a round and gives nanoseconds a verdict.
type Round<'a> = Box<dyn Fn() -> f64 + 'a>;

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let pcap = Pcap::load();
    let cases: Vec<_> = cases::all()?.into_iter().filter(|case| case.name.contains(&args.only)).collect();
    let mut rows =
        vec![["programs, ns", "interpreter", "decoded", "native", "libpcap", "", ""].map(str::to_owned)];
    for case in cases.iter().filter(|case| !case.programs.is_empty()) {
        rows.push(programs(case, pcap.as_ref(), args.rounds)?);
    }
    print_table(&rows, args.markdown);
    println!();
    let heads = ["from SQE to verdict, ns", "context, interpreter", "interpreter", "decoded", "native", ""];
    let mut rows = vec![heads.map(str::to_owned)];
    for case in &cases {
        rows.push(verdicts(case, args.rounds)?);
    }
    print_table(&rows, args.markdown);
    println!();
    let heads = ["to register, ns", "interpreter", "decoded", "native"];
    let mut rows = vec![heads.map(str::to_owned)];
    for case in cases.iter().filter(|case| case.programs.len() == 1) {
        rows.push(registrations(case, args.rounds));
    }
    print_table(&rows, args.markdown);
    Ok(())
}

/// The programs of a case on contexts that are there.
fn programs(case: &Case, pcap: Option<&Pcap>, rounds: usize) -> anyhow::Result<[String; 7]> {
    let contexts = case
        .requests
        .iter()
        .map(|sqe| Context::new(MODEL, sqe, Payload::None).map(|context| context.words().to_vec()))
        .collect::<Result<Vec<_>, _>>()?;
    // libpcap loads words in network order.
    let packets: Vec<Vec<u8>> =
        contexts.iter().map(|words| words.iter().flat_map(|word| word.to_be_bytes()).collect()).collect();
    let program = |insns: &Vec<_>| Program::new(insns, MODEL.facts().context_size);
    let programs = case.programs.iter().rev().map(program).collect::<Result<Vec<_>, _>>()?;
    let mut engines: Vec<Round<'_>> = Vec::new();
    let mut answers = Vec::new();
    for machine in Machine::ALL {
        let programs = Program::all_with_machine(programs.clone(), machine);
        let allows = move |words: &Vec<u32>| programs.iter().all(|program| program.run(words) != 0);
        answers.push(contexts.iter().map(&allows).collect::<Vec<_>>());
        engines.push(round(&contexts, allows));
    }
    if let Some(pcap) = pcap {
        let allows = |packet: &Vec<u8>| case.programs.iter().rev().all(|insns| pcap.run(insns, packet) != 0);
        answers.push(packets.iter().map(allows).collect());
        engines.push(round(&packets, allows));
    }
    ensure!(answers.iter().all(|answer| *answer == answers[0]), "{}: engines disagree", case.name);
    let times = medians(&engines, rounds, 4);
    let libpcap = times[3];
    let ratio = |time: f64| match pcap {
        Some(_) => format!("{:.1} times", libpcap / time),
        None => String::new(),
    };
    let [plain, decoded, native] = [times[0], times[1], times[2]].map(|time| format!("{time:.1}"));
    let pcap = if pcap.is_some() { format!("{libpcap:.1}") } else { "not there".to_owned() };
    Ok([case.name.to_owned(), plain, decoded, native, pcap, ratio(times[1]), ratio(times[2])])
}

/// From a request to the verdict of a case's filters.
fn verdicts(case: &Case, rounds: usize) -> anyhow::Result<[String; 6]> {
    let sets = Machine::ALL.map(|machine| registered(case, Machine::default()).with_machine(machine));
    let allows = |verdict| verdict == Verdict::Allow;
    let by_context = |sqe: &_| allows(sets[0].verdict(&Context::header(MODEL, sqe)));
    let mut engines = vec![round(&case.requests, by_context)];
    for set in &sets {
        engines.push(round(&case.requests, move |sqe| allows(set.verdict_on(sqe))));
    }
    let times = medians(&engines, rounds, 4);
    let [context, plain, decoded, native] = [0, 1, 2, 3].map(|engine| format!("{:.1}", times[engine]));
    let ratio = format!("{:.1} times", times[0] / times[3]);
    Ok([case.name.to_owned(), context, plain, decoded, native, ratio])
}

/// What it takes to check a program and to make what runs it, and to be rid of it again.
fn registrations(case: &Case, rounds: usize) -> [String; 4] {
    let engines: Vec<Round<'_>> = Machine::ALL
        .into_iter()
        .map(|machine| -> Round<'_> {
            Box::new(move || {
                const TIMES: usize = 50;
                let start = Instant::now();
                for _ in 0..TIMES {
                    black_box(registered(case, machine));
                }
                start.elapsed().as_nanos() as f64 / TIMES as f64
            })
        })
        .collect();
    let times = medians(&engines, rounds, 3);
    let [plain, decoded, native] = [0, 1, 2].map(|engine| format!("{:.0}", times[engine]));
    [case.name.to_owned(), plain, decoded, native]
}

/// A set with the programs of a case.
fn registered(case: &Case, machine: Machine) -> FilterSet {
    let mut set = FilterSet::new(MODEL).with_machine(machine);
    for insns in &case.programs {
        let registration = Registration::new(Opcode::SOCKET, insns);
        set.register(registration).expect("the case's programs are accepted");
    }
    set
}

/// Goes through the inputs again and again.
fn round<'a, T>(inputs: &'a [T], allows: impl Fn(&T) -> bool + 'a) -> Round<'a> {
    Box::new(move || {
        let start = Instant::now();
        for input in inputs.iter().cycle().take(REPEATED) {
            black_box(allows(black_box(input)));
        }
        start.elapsed().as_nanos() as f64 / REPEATED as f64
    })
}

/// The median of each engine, and 0 for those that are missing of so many.
fn medians(engines: &[Round<'_>], rounds: usize, count: usize) -> Vec<f64> {
    let mut times = vec![Vec::new(); engines.len()];
    for _ in 0..rounds.max(1) {
        for (engine, times) in engines.iter().zip(&mut times) {
            times.push(engine());
        }
    }
    let mut medians: Vec<_> = times.into_iter().map(median).collect();
    medians.resize(count, 0.0);
    medians
}
