//! What judges a case's requests: all that is compared, in one form.

mod kernel;
mod pcap;
mod rbpf;

use crate::cases::Case;
use anyhow::ensure;
use kernel::{Filter, Kernel, Packet};
use pcap::Pcap;
use ringwarden_cbpf::{Chain, Machine, Program};
use ringwarden_filter::{Context, FilterSet, KernelModel, Payload, Registration, Verdict};
use ringwarden_uapi::Opcode;
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::ops::Range;

const MODEL: KernelModel = KernelModel::V7_3;

/// In which order requests are judged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// One after the other, and all of them so many times: where jumps lead to is not foreseen.
    InTurn(usize),
    /// Each so many times before the next is: all jumps are foreseen. Since that takes long, the first few requests.
    Repeated(usize),
}

/// The requests that are judged again and again.
const FEW: usize = 16;

/// So many times all of those requests, each so many times before the next.
struct Round {
    requests: Range<usize>,
    times: usize,
    each: usize,
}

/// Something that judges the requests of a case.
pub(crate) struct Engine<'a> {
    /// Whether each is allowed.
    answers: Vec<bool>,
    judge: Judge<'a>,
}

enum Judge<'a> {
    /// In this process; gives the last answer.
    Here(Box<dyn FnMut(Round) -> bool + 'a>),
    Kernel(Filter, Vec<Packet>),
}

/// Why there is no engine.
pub(crate) type Missing = &'static str;
/// The machine lacks it.
pub(crate) const NOT_THERE: Missing = "not there";
/// It has no such thing.
pub(crate) const NONE: Missing = "–";

impl<'a> Engine<'a> {
    fn new<T: 'a>(mut inputs: Vec<T>, mut allows: impl FnMut(&mut T) -> bool + 'a) -> Self {
        let requests = inputs.len();
        // All is done by one loop, so that what allows is compiled into it, as it is where others ask for a verdict.
        let judge = move |Round { requests, times, each }: Round| {
            let mut last = false;
            for _ in 0..times {
                for input in &mut inputs[requests.clone()] {
                    for _ in 0..each {
                        last = black_box(allows(black_box(&mut *input)));
                    }
                }
            }
            last
        };
        let mut judge: Box<dyn FnMut(Round) -> bool + 'a> = Box::new(judge);
        let one = |number| Round { requests: number..number + 1, times: 1, each: 1 };
        Self { answers: (0..requests).map(one).map(&mut judge).collect(), judge: Judge::Here(judge) }
    }

    /// Judges, in this process.
    pub(crate) fn judge(&mut self, order: Order) {
        if let Judge::Here(judge) = &mut self.judge {
            judge(order.round(self.answers.len()));
        }
    }

    /// Nanoseconds of the processor a verdict.
    pub(crate) fn time(&mut self, order: Order) -> anyhow::Result<f64> {
        let round = order.round(self.answers.len());
        match &mut self.judge {
            Judge::Here(judge) => {
                let verdicts = round.requests.len() * round.times * round.each;
                let start = spent();
                judge(round);
                Ok((spent() - start) / verdicts as f64)
            }
            Judge::Kernel(filter, packets) => {
                let mut sum = 0.0;
                for packet in &packets[round.requests.clone()] {
                    // Half a nanosecond is cut off on average.
                    sum += f64::from(filter.run(packet, round.each)?.1) + 0.5;
                }
                Ok(sum / round.requests.len() as f64)
            }
        }
    }
}

impl Order {
    /// This order of so many requests.
    fn round(self, requests: usize) -> Round {
        match self {
            Order::InTurn(times) => Round { requests: 0..requests, times, each: 1 },
            Order::Repeated(each) => Round { requests: 0..FEW.min(requests), times: 1, each },
        }
    }
}

/// Processor time of this thread, in nanoseconds.
pub(crate) fn spent() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// An engine under its name, or why it is missing.
pub(crate) type Named<'a> = (&'static str, Result<Engine<'a>, Missing>);

/// The machines that are not ours, as far as there are any here.
pub(crate) struct Others {
    pcap: Option<Pcap>,
    kernel: Option<Kernel>,
}

impl Others {
    /// Looks for them, and says what is missing and why.
    pub(crate) fn find() -> Self {
        let pcap = Pcap::load();
        if pcap.is_none() {
            eprintln!("libpcap is not there: Debian's package libpcap0.8 has it");
        }
        let kernel = Kernel::open();
        if let Err(error) = &kernel {
            eprintln!("the kernel runs no filters for us: {error} (it takes root or CAP_BPF)");
        }
        Self { pcap, kernel: kernel.ok() }
    }
}

/// The programs of a case, on contexts that are there. Of those that a stack has the newest runs first, and all must
/// allow. The kernel can be asked for repeated verdicts only.
pub(crate) fn programs<'a>(
    case: &'a Case,
    others: &'a Others,
    order: Order,
) -> anyhow::Result<Vec<Named<'a>>> {
    let (contexts, programs) = (contexts(case)?, checked(case)?);
    let bytes = |to_bytes: fn(u32) -> [u8; 4]| -> Vec<Vec<u8>> {
        contexts.iter().map(|words| words.iter().flat_map(|&word| to_bytes(word)).collect()).collect()
    };
    // Words are loaded in network order.
    let libpcap = others.pcap.as_ref().map_or(Err(NOT_THERE), |pcap| {
        let allows =
            |packet: &mut Vec<u8>| case.programs.iter().rev().all(|insns| pcap.run(insns, packet) != 0);
        Ok(Engine::new(bytes(u32::to_be_bytes), allows))
    });
    let interpreted = programs.iter().map(rbpf::Interpreted::new).collect::<Result<Vec<_>, _>>()?;
    let interpreted = Engine::new(bytes(u32::to_ne_bytes), move |context| {
        interpreted.iter().all(|program| program.run(context) != 0)
    });
    let compiled = if rbpf::Compiled::POSSIBLE {
        let compiled = programs.iter().map(rbpf::Compiled::new).collect::<Result<Vec<_>, _>>()?;
        let allows = move |context: &mut Vec<u8>| compiled.iter().all(|program| program.run(context) != 0);
        Ok(Engine::new(bytes(u32::to_ne_bytes), allows))
    } else {
        Err(NOT_THERE)
    };
    let mut engines = vec![
        ("interpreter", Ok(alone(case, Machine::Interpreter)?)),
        ("decoded", Ok(alone(case, Machine::Decoded)?)),
        ("native", Ok(alone(case, Machine::Native)?)),
        ("libpcap", libpcap),
        ("rbpf", Ok(interpreted)),
        ("rbpf, compiled", compiled),
    ];
    if let Order::Repeated(_) = order {
        engines.push((
            "kernel",
            match (&others.kernel, &programs[..]) {
                (None, _) => Err(NOT_THERE),
                (Some(kernel), [program]) => Ok(in_kernel(kernel.load(program)?, &contexts)?),
                // A socket has one filter.
                (Some(_), _) => Err(NONE),
            },
        ));
    }
    agreeing(case, engines)
}

/// The same by a machine of ours.
pub(crate) fn alone<'a>(case: &Case, machine: Machine) -> anyhow::Result<Engine<'a>> {
    let programs = Program::all_with_machine(checked(case)?, machine);
    let contexts = contexts(case)?;
    Ok(match Chain::new(&programs) {
        Some(chain) if programs.len() > 1 => {
            Engine::new(contexts, move |words| chain.first_refusal(words).is_none())
        }
        _ => Engine::new(contexts, move |words| programs.iter().all(|program| program.run(words) != 0)),
    })
}

/// What the requests show.
fn contexts(case: &Case) -> anyhow::Result<Vec<Vec<u32>>> {
    let words = |sqe| Ok(Context::new(MODEL, sqe, Payload::None)?.words().to_vec());
    case.requests.iter().map(words).collect()
}

/// The programs of a case, the newest first.
fn checked(case: &Case) -> anyhow::Result<Vec<Program>> {
    let program = |insns: &Vec<_>| Ok(Program::new(insns, MODEL.facts().context_size)?);
    case.programs.iter().rev().map(program).collect()
}

fn in_kernel<'a>(filter: Filter, contexts: &[Vec<u32>]) -> anyhow::Result<Engine<'a>> {
    let packets: Vec<_> = contexts.iter().map(|words| Packet::new(words)).collect();
    let allows = |packet| filter.run(packet, 1).map(|(value, _)| value != 0);
    let answers = packets.iter().map(allows).collect::<Result<_, _>>()?;
    Ok(Engine { answers, judge: Judge::Kernel(filter, packets) })
}

/// From a request to the verdict of a case's filters. The first makes a context for it.
pub(crate) fn verdicts<'a>(case: &Case) -> anyhow::Result<Vec<Named<'a>>> {
    let set = registered(case, Machine::Interpreter);
    let by_contexts = Engine::new(case.requests.clone(), move |sqe| {
        set.verdict(&Context::header(MODEL, sqe)) == Verdict::Allow
    });
    agreeing(
        case,
        vec![
            ("by contexts", Ok(by_contexts)),
            ("interpreter", Ok(from_sqe(case, Machine::Interpreter))),
            ("decoded", Ok(from_sqe(case, Machine::Decoded))),
            ("native", Ok(from_sqe(case, Machine::Native))),
        ],
    )
}

/// The same by a machine of ours, without a context.
pub(crate) fn from_sqe<'a>(case: &Case, machine: Machine) -> Engine<'a> {
    // Code that is made of all together is in one piece.
    let set = registered(case, Machine::default()).with_machine(machine);
    Engine::new(case.requests.clone(), move |sqe| set.verdict_on(sqe) == Verdict::Allow)
}

/// A set with the programs of a case.
pub(crate) fn registered(case: &Case, machine: Machine) -> FilterSet {
    let mut set = FilterSet::new(MODEL).with_machine(machine);
    for insns in &case.programs {
        let registration = Registration::new(Opcode::SOCKET, insns);
        set.register(registration).expect("the case's programs are accepted");
    }
    set
}

/// The engines, if they all say the same of all requests.
fn agreeing<'a>(case: &Case, engines: Vec<Named<'a>>) -> anyhow::Result<Vec<Named<'a>>> {
    let mut there = engines.iter().filter_map(|(name, engine)| Some((name, &engine.as_ref().ok()?.answers)));
    if let Some((first, answers)) = there.next() {
        for (name, others) in there {
            ensure!(others == answers, "{}: {name} and {first} disagree", case.name);
        }
    }
    Ok(engines)
}
