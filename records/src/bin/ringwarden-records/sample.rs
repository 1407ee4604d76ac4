//! `ringwarden-records sample`: a record of requests that nobody has made, for measurements.

use crate::fail;
use clap::Args;
use ringwarden::filter::{Context, Payload};
use ringwarden::uapi::ring::Sqe;
use ringwarden::uapi::{KernelModel, Opcode};
use ringwarden_records::Recording;
use ringwarden_records::terminal::Shown;
use ringwarden_trace::{Item, NO_RULE, Preamble, Request};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Write a record of so many plausible requests.
#[derive(Args)]
pub(crate) struct Sample {
    /// The record, which must not be there yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How many requests
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Others for each number
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

const PROGRAMS: [&str; 6] = ["nginx", "postgres", "fio", "mariadbd", "node", "qemu-system-x86"];

impl Sample {
    pub(crate) fn execute(self) -> ExitCode {
        match self.write() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(error),
        }
    }

    fn write(&self) -> Result<(), String> {
        let preamble = Preamble { model: KernelModel::Guard.to_string(), policies: Vec::new() };
        let told = |error: ringwarden_records::Error| error.to_string();
        let mut recording = Recording::create(&self.file, &preamble).map_err(told)?;
        recording.add(Item::Rule("openat2 at old.toml:6".into())).map_err(told)?;
        let mut numbers = Numbers(self.seed);
        let (written, rows) = (Arc::new(AtomicU64::new(0)), self.rows);
        let _shown = Shown::new({
            let written = Arc::clone(&written);
            move |_| {
                let written = written.load(Ordering::Relaxed);
                format!("{} % of {rows} requests", written.saturating_mul(100) / rows.max(1))
            }
        });
        for row in 0..rows {
            written.store(row, Ordering::Relaxed);
            let request = numbers.request(row).map_err(|errno| format!("{errno:?}"))?;
            recording.add(Item::Request(request)).map_err(told)?;
        }
        recording.finish().map(drop).map_err(told)
    }
}

/// Numbers that look like chance (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    fn request(&mut self, row: u64) -> Result<Request, ringwarden::filter::Errno> {
        let (program, fd) = (self.below(PROGRAMS.len() as u64), 3 + self.below(60) as i32);
        let sqe = Sqe { user_data: 0x7f00_0000_0000 + self.below(1 << 20) * 64, fd, ..Sqe::default() };
        let mut argument = [0u8; 24];
        let (op, sqe) = match self.below(100) {
            0..=39 => (Opcode::READ, self.transfer(sqe)),
            40..=64 => (Opcode::WRITE, self.transfer(sqe)),
            65..=74 => (Opcode::RECV, Sqe { len: 16384, addr: 0x7f00_1000_0000, ..sqe }),
            75..=84 => {
                (Opcode::SEND, Sqe { len: 1 + self.below(9000) as u32, addr: 0x7f00_2000_0000, ..sqe })
            }
            85..=88 => (Opcode::TIMEOUT, Sqe { len: 1, ..sqe }),
            89..=91 => (Opcode::FSYNC, sqe),
            92..=93 => (Opcode::SOCKET, Sqe { fd: [1, 2, 10][self.below(3) as usize], off: 1, ..sqe }),
            94..=95 => {
                argument[..4].copy_from_slice(&[2, 0, 1, 187]);
                argument[4..8].copy_from_slice(&[10, 0, self.below(4) as u8, self.below(250) as u8]);
                (Opcode::CONNECT, Sqe { off: 16, ..sqe })
            }
            96..=97 => {
                argument[..8]
                    .copy_from_slice(&[0o2_000_000u64, 0o2_000_101][self.below(2) as usize].to_ne_bytes());
                (Opcode::OPENAT2, Sqe { len: 24, fd: -100, ..sqe })
            }
            _ => (Opcode::CLOSE, sqe),
        };
        let sqe = Sqe { opcode: op.0, ..sqe };
        let argument = match op {
            Opcode::CONNECT => Payload::of(op, &argument[..16]),
            _ => Payload::of(op, &argument),
        };
        let context = Context::new(KernelModel::Guard, &sqe, argument)?;
        let refused = op == Opcode::OPENAT2 && self.below(10) == 0;
        let mut request = Request {
            time: (1_700_000_000_000_000_000 + row * 10_000).into(),
            ring: (1 + program).into(),
            pid: (1000 + program as i32).into(),
            tid: (1000 + program as i32).into(),
            rule: if refused { 0 } else { NO_RULE }.into(),
            verdict: refused.into(),
            complete: 1,
            ..Request::default()
        };
        let name = PROGRAMS[program as usize].as_bytes();
        request.program[..name.len().min(15)].copy_from_slice(&name[..name.len().min(15)]);
        for (to, &word) in request.words.iter_mut().zip(context.words()) {
            *to = word.into();
        }
        Ok(request)
    }

    fn transfer(&mut self, sqe: Sqe) -> Sqe {
        Sqe {
            off: self.below(1 << 20) * 4096,
            addr: 0x7f00_0000_0000 + self.below(256) * 4096,
            len: 4096,
            ..sqe
        }
    }
}
