//! Cases as text: steps in the words of conformance/README.md where it has any.

use crate::case::{Case, Registration, Request, Step, Target};
use crate::outcome::Outcome;
use ringwarden_cbpf::disasm::disassemble;
use ringwarden_uapi::bpf::FilterFlags;
use ringwarden_uapi::ring::Pointer;
use ringwarden_uapi::{Errno, Opcode};
use std::fmt;

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rings = 0;
        for step in &self.steps {
            if let Step::Ring(setup) = step {
                write!(f, "ring r{rings}")?;
                setup.iter_names().try_for_each(|(name, _)| write!(f, " {name}"))?;
                writeln!(f)?;
                rings += 1;
            } else {
                writeln!(f, "{step}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring(_) => f.write_str("ring"),
            Self::Restrict(target, entries) => {
                write!(f, "restrict {target}")?;
                entries.iter().try_for_each(|entry| write!(f, " kind={}:{}", entry.kind, entry.value))
            }
            Self::Enable(ring) => write!(f, "enable r{ring}"),
            Self::Register(target, registration) => write!(f, "filter {target} {registration}"),
            Self::Enter(ring, requests) => {
                write!(f, "enter r{ring} ")?;
                for (index, request) in requests.iter().enumerate() {
                    write!(f, "{}{request}", if index == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Self::Fork => f.write_str("fork"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task => f.write_str("task"),
            Self::Ring(ring) => write!(f, "r{ring}"),
        }
    }
}

impl fmt::Display for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match u8::try_from(self.opcode) {
            Ok(opcode) => write!(f, "{}", Opcode(opcode))?,
            Err(_) => write!(f, "op{}", self.opcode)?,
        }
        let flags = FilterFlags::from_bits_retain(self.flags);
        flags.iter_names().try_for_each(|(name, _)| write!(f, " {}", name.to_lowercase()))?;
        if flags != FilterFlags::from_bits_truncate(self.flags) {
            write!(f, " flags={:#x}", self.flags)?;
        }
        if self.pdu_size != 0 {
            write!(f, " pdu={}", self.pdu_size)?;
        }
        for line in disassemble(&self.program).to_string().lines() {
            write!(f, "\n    {line}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sqe = &self.sqe;
        write!(f, "{} raw user_data={:#x}", self.opcode(), sqe.user_data)?;
        let fields = [
            ("sqe_flags", u64::from(sqe.flags)),
            ("ioprio", sqe.ioprio.into()),
            ("off", sqe.off),
            ("addr", sqe.addr),
            ("len", sqe.len.into()),
            ("op_flags", sqe.op_flags.into()),
            ("buf_index", sqe.buf_index.into()),
            ("personality", sqe.personality.into()),
            ("file_index", sqe.file_index.into()),
        ];
        if sqe.fd != -1 {
            write!(f, " fd={}", sqe.fd)?;
        }
        fields
            .iter()
            .filter(|(_, value)| *value != 0)
            .try_for_each(|(name, value)| write!(f, " {name}={value:#x}"))?;
        for object in &self.objects {
            let pointer = match object.pointer {
                Pointer::Addr => "addr",
                Pointer::Off => "off",
            };
            write!(f, " {pointer}->")?;
            object.bytes.iter().take(64).try_for_each(|byte| write!(f, "{byte:02x}"))?;
            write!(f, "({} bytes{})", object.bytes.len(), if object.at_the_end { ", the last" } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Res(self.returned))?;
        if let Some(size) = self.pdu_size {
            write!(f, " pdu={size}")?;
        }
        if !self.cqes.is_empty() {
            f.write_str(":")?;
        }
        self.cqes.iter().try_for_each(|(user_data, res)| write!(f, " {user_data:#x}={}", Res(*res)))
    }
}

/// A result: an errno by its name.
struct Res(i32);

impl fmt::Display for Res {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errno = u16::try_from(self.0.unsigned_abs()).ok().filter(|_| self.0 < 0).map(Errno);
        match errno.and_then(Errno::name) {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}
