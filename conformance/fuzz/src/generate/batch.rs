//! Submissions of many requests: links, hard links, drains, silence, and all that makes one fail, in any order.

use super::Writer;
use crate::case::{Object, Registration, Request, Step, Target};
use ringwarden_cbpf::Insn;
use ringwarden_cbpf::insn::{BPF_K, BPF_RET};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::ring::{Pointer, SetupFlags, Sqe, SqeFlags};

/// The most requests of a submission.
const MOST: u8 = 20;
/// Errors that a NOP is made to end with.
const FAILURE: u32 = (-5i32) as u32;

impl Writer<'_> {
    /// A ring that denies SOCKET, and NOPs by what a filter sees of them.
    pub(super) fn batches(&mut self) {
        let mut setup = self.setup();
        if self.rng.u8(..3) == 0 {
            setup |= SetupFlags::SUBMIT_ALL;
        }
        self.ring(setup);
        let denied = Registration {
            opcode: Opcode::SOCKET.0.into(),
            flags: 0,
            pdu_size: 0,
            program: vec![Insn::stmt(BPF_RET | BPF_K, 0)],
        };
        self.steps.push(Step::Register(Target::Ring(0), denied));
        if self.rng.u8(..4) == 0 {
            self.register(Target::Ring(0));
        }
        if self.silent {
            // There are no drains on a ring that has seen a silent request, whose end could only be guessed.
            self.steps.push(Step::Enter(0, vec![nop(0xff, SqeFlags::CQE_SKIP_SUCCESS)]));
        }
        for _ in 0..self.rng.u8(2..8) {
            let count = self.rng.u8(1..=MOST);
            let mut requests: Vec<_> = (0..count).map(|number| self.linked(number)).collect();
            if let Some(last) = requests.last_mut().filter(|_| self.silent) {
                last.sqe.flags &= !(SqeFlags::IO_LINK | SqeFlags::IO_HARDLINK).bits();
            }
            self.steps.push(Step::Enter(0, requests));
        }
    }

    /// A request that takes no time, somewhere in a submission.
    fn linked(&mut self, number: u8) -> Request {
        let mut flags = match self.rng.u8(..16) {
            0..6 => SqeFlags::empty(),
            6..12 => SqeFlags::IO_LINK,
            12..15 => SqeFlags::IO_HARDLINK,
            _ => SqeFlags::IO_LINK | SqeFlags::IO_HARDLINK,
        };
        if self.rng.u8(..12) == 0 {
            flags |= SqeFlags::IO_DRAIN;
        }
        if self.silent {
            flags.set(SqeFlags::CQE_SKIP_SUCCESS, self.rng.u8(..3) == 0);
        } else if self.rng.u8(..16) == 0 {
            flags |= SqeFlags::ASYNC;
        }
        let mut request = nop(number, flags);
        let sqe = &mut request.sqe;
        match self.rng.u8(..32) {
            0..4 => sqe.opcode = Opcode::SOCKET.0,
            4..7 => (sqe.op_flags, sqe.len) = (1, FAILURE),
            7 => sqe.opcode = self.rng.u8(70..),
            8 => sqe.flags |= 1 << 7,
            9 => sqe.flags |= SqeFlags::BUFFER_SELECT.bits(),
            10 => sqe.ioprio = 1,
            11 => sqe.personality = 1,
            12 => sqe.opcode = Opcode::NOP128.0,
            13..16 => {
                // It is an hour until it would expire.
                sqe.opcode = Opcode::LINK_TIMEOUT.0;
                sqe.len = 1;
                let time = [3600u64, 0].map(u64::to_ne_bytes).as_flattened().to_vec();
                let object = Object { pointer: Pointer::Addr, bytes: time, at_the_end: false };
                request.objects.extend((self.rng.u8(..8) != 0).then_some(object));
            }
            _ => {}
        }
        request
    }
}

fn nop(number: u8, flags: SqeFlags) -> Request {
    let sqe = Sqe {
        opcode: Opcode::NOP.0,
        fd: -1,
        flags: flags.bits(),
        user_data: number.into(),
        ..Sqe::default()
    };
    Request { sqe, objects: Vec::new() }
}
