//! The filters of all opcodes, and the verdict.

use crate::registration::{RegisterError, Registration};
use crate::stack::{Filter, Stack};
use crate::verdict::{Denial, DeniedBy, Verdict};
use crate::words;
use crate::{Context, KernelModel, payload};
use ringwarden_cbpf::{Machine, Program};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::bpf::{FilterFlags, MAX_INSNS};
use ringwarden_uapi::ring::Sqe;
use std::sync::Arc;

/// An immutable snapshot of filters for every opcode of one kernel. A clone costs one reference
/// count; registering on it copies the table, never the filters.
///
/// The rules, as in `io_uring/bpf_filter.c`: an opcode without filters is allowed; of those it has
/// the newest runs first, the first that gives 0 ends it, all must allow. Filters cannot be removed,
/// so that a set can only become tighter.
#[derive(Clone, Debug)]
pub struct FilterSet {
    model: KernelModel,
    machine: Machine,
    stacks: Arc<[Stack]>,
}

impl FilterSet {
    /// No filters: every opcode that the kernel has is allowed.
    pub fn new(model: KernelModel) -> Self {
        let stacks =
            (0..model.facts().opcodes).map(|opcode| Stack::new(model.payload_size(Opcode(opcode)))).collect();
        Self { model, machine: Machine::default(), stacks }
    }

    /// The same, whose programs are run by that machine, those that are yet to be registered included. Code of those that
    /// there are is together in one piece of memory, that of later ones in a page each. Where an operation has several they
    /// are code once more, as one function, which is made anew when they have become twice as many.
    #[must_use]
    pub fn with_machine(self, machine: Machine) -> Self {
        let programs = self.stacks.iter().flat_map(Stack::filters).map(|filter| filter.program.clone());
        let mut programs = Program::all_with_machine(programs.collect(), machine).into_iter();
        let stacks = self.stacks.iter().map(|stack| stack.with_programs(&mut programs)).collect();
        Self { machine, stacks, ..self }
    }

    /// The kernel whose filters these are.
    pub fn model(&self) -> KernelModel {
        self.model
    }

    /// Adds a filter in front of those its opcode has, and with DENY_REST the sentinel to every
    /// other opcode that has none.
    ///
    /// # Errors
    /// The set is unchanged if the registration is refused; see [`RegisterError`].
    pub fn register(&mut self, registration: Registration) -> Result<(), RegisterError> {
        let Registration { opcode, flags, pdu_size, insns, tag } = registration;
        if !self.model.has_opcode(opcode) {
            return Err(RegisterError::UnknownOpcode { opcode, model: self.model });
        }
        let known = self.known_flags();
        if !known.contains(flags) {
            return Err(RegisterError::UnknownFlags { flags: flags - known, model: self.model });
        }
        if insns.is_empty() || insns.len() > MAX_INSNS as usize {
            return Err(RegisterError::Length { len: insns.len() });
        }
        self.check_payload_size(opcode, flags, pdu_size)?;
        let program = Program::new(&insns, self.model.facts().context_size)?.with_machine(self.machine);
        let bits = payload::bits(opcode, self.model.payload_size(opcode));
        let reads_payload = !bits.is_empty() && program.depends_on(bits);
        self.push(opcode, Filter { program, tag, reads_payload }, flags.contains(FilterFlags::DENY_REST));
        Ok(())
    }

    /// What becomes of the request that shows this context.
    #[inline]
    pub fn verdict(&self, context: &Context) -> Verdict {
        let opcode = context.opcode();
        self.judge(opcode, |stack| {
            if context.is_complete() {
                stack.refusal(context.words())
            } else {
                stack.refusal_without(context.words())
            }
        })
    }

    /// What becomes of a request that stands alone in its submission, as far as its SQE says it: the verdict on
    /// its [header](Context::header), of which no more is made than the programs load.
    #[inline]
    pub fn verdict_on(&self, sqe: &Sqe) -> Verdict {
        self.judge(Opcode(sqe.opcode), |stack| {
            words::lend(self.model, sqe, stack, |words| {
                // Where no program depends on it, it does not matter that the payload is missing.
                if stack.reads_payload() { stack.refusal_without(words) } else { stack.refusal(words) }
            })
        })
    }

    #[inline]
    fn judge(&self, opcode: Opcode, refusal: impl FnOnce(&Stack) -> Option<DeniedBy>) -> Verdict {
        let by = match self.stacks.get(usize::from(opcode.0)) {
            None => Some(DeniedBy::UnknownOpcode),
            // Most opcodes have no filter: those must cost next to nothing.
            Some(stack) => stack.settled().unwrap_or_else(|| refusal(stack)),
        };
        by.map_or(Verdict::Allow, |by| Verdict::Deny(Denial { opcode, by }))
    }

    /// The verdict on an opcode where it is the same for all its requests: `Some(true)` where it has
    /// no filters or only programs that allow without a look at the request, `Some(false)` where the
    /// sentinel or some program refuses without a look (or the kernel has no such opcode), `None`
    /// where it depends.
    #[inline]
    pub fn outright(&self, opcode: Opcode) -> Option<bool> {
        self.stacks.get(usize::from(opcode.0)).map_or(Some(false), Stack::outright)
    }

    /// Whether the verdict of some program for this opcode depends on what is not in the SQE but in memory
    /// that the SQE points at, so that it needs [`Context::new`]. Only ever true for OPENAT2 and CONNECT, and
    /// for BIND in the guard.
    /// Loading such words is not enough, since programs test single flags of a word: see
    /// [`Program::depends_on`].
    pub fn reads_payload(&self, opcode: Opcode) -> bool {
        self.stacks.get(usize::from(opcode.0)).is_some_and(Stack::reads_payload)
    }

    /// The instructions of all programs for an opcode: what judging one of its requests takes at most.
    pub fn instructions(&self, opcode: Opcode) -> usize {
        self.stacks.get(usize::from(opcode.0)).map_or(0, Stack::instructions)
    }

    /// The filters of an opcode in the order they run, newest first, without the sentinel.
    pub fn filters(&self, opcode: Opcode) -> impl Iterator<Item = &Filter> {
        self.stacks.get(usize::from(opcode.0)).into_iter().flat_map(Stack::filters)
    }

    /// Whether the opcode's stack ends in the sentinel of DENY_REST, whatever was put on top since.
    pub fn is_rest_denied(&self, opcode: Opcode) -> bool {
        self.stacks.get(usize::from(opcode.0)).is_some_and(Stack::ends_in_rest)
    }

    /// The registration flags this kernel knows.
    pub(crate) fn known_flags(&self) -> FilterFlags {
        if self.model.facts().payload_size_checked { FilterFlags::all() } else { FilterFlags::DENY_REST }
    }

    /// Whether a program written for `pdu_size` bytes of payload may be registered: never for more
    /// than the kernel gives, with SZ_STRICT not for less either.
    pub(crate) fn check_payload_size(
        &self,
        opcode: Opcode,
        flags: FilterFlags,
        pdu_size: u8,
    ) -> Result<(), RegisterError> {
        let kernel = self.model.payload_size(opcode);
        if pdu_size > kernel || (pdu_size < kernel && flags.contains(FilterFlags::SZ_STRICT)) {
            return Err(RegisterError::PayloadSize { opcode, asked: pdu_size, kernel });
        }
        Ok(())
    }

    fn push(&mut self, opcode: Opcode, filter: Filter, deny_rest: bool) {
        let stacks = Arc::make_mut(&mut self.stacks);
        if let Some(stack) = stacks.get_mut(usize::from(opcode.0)) {
            stack.push(filter);
        }
        if deny_rest {
            stacks.iter_mut().for_each(Stack::deny_if_empty);
        }
    }
}

impl Default for FilterSet {
    fn default() -> Self {
        Self::new(KernelModel::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Errno, Payload};
    use ringwarden_cbpf::asm::assemble;
    use ringwarden_uapi::ring::Sqe;

    fn openat2(program: &str) -> FilterSet {
        let mut set = FilterSet::default();
        set.register(Registration::new(Opcode::OPENAT2, &assemble(program).unwrap())).unwrap();
        set
    }

    /// O_CREAT lies in memory and shows as IOSQE_ASYNC: a header cannot know.
    #[test]
    fn the_flags_of_openat2_are_part_of_its_payload() {
        let set = openat2("ld [8]\nand #0x1000\njeq #0, plain\nret #0\nplain: ret #1");
        assert!(set.reads_payload(Opcode::OPENAT2));
        let sqe = Sqe { opcode: Opcode::OPENAT2.0, ..Sqe::default() };
        let by = |context: &Context| match set.verdict(context) {
            Verdict::Deny(denial) => Some(denial.by),
            Verdict::Allow => None,
        };
        assert_eq!(by(&Context::header(set.model(), &sqe)), Some(DeniedBy::PayloadUnread));
        let how = [0o100u64, 0, 0].map(u64::to_ne_bytes);
        let creates = Context::new(set.model(), &sqe, Payload::OpenHow(how.as_flattened())).unwrap();
        assert_eq!(by(&creates), Some(DeniedBy::Filter { tag: 0 }));
        let opens = Context::new(set.model(), &sqe, Payload::OpenHow(&[0; 24])).unwrap();
        assert_eq!(by(&opens), None);
    }

    /// What the payload may change of the word that is loaded is not what is tested.
    #[test]
    fn other_flags_are_judged_without_the_payload() {
        let set = openat2("ld [8]\njset #0x2100, no\nret #1\nno: ret #0");
        assert!(!set.reads_payload(Opcode::OPENAT2));
        for (flags, allowed) in [(0, true), (0x10, true), (0x20, false), (1, false)] {
            let sqe = Sqe { opcode: Opcode::OPENAT2.0, flags, ..Sqe::default() };
            let how = [0o100u64, 0, 0].map(u64::to_ne_bytes);
            let creates = Context::new(set.model(), &sqe, Payload::OpenHow(how.as_flattened())).unwrap();
            for context in [Context::header(set.model(), &sqe), creates] {
                assert_eq!(set.verdict(&context) == Verdict::Allow, allowed, "{flags:#x} {context:?}");
            }
        }
    }

    #[test]
    fn without_the_payload_a_filter_that_needs_none_is_still_named() {
        let mut set = openat2("ld [16]\nret a");
        let deny =
            Registration { tag: 3, ..Registration::new(Opcode::OPENAT2, &assemble("ret #0").unwrap()) };
        set.register(deny).unwrap();
        set.register(Registration::new(Opcode::OPENAT2, &assemble("ld [16]\nret a").unwrap())).unwrap();
        let sqe = Sqe { opcode: Opcode::OPENAT2.0, ..Sqe::default() };
        let denial = Denial { opcode: Opcode::OPENAT2, by: DeniedBy::Filter { tag: 3 } };
        assert_eq!(set.verdict(&Context::header(set.model(), &sqe)), Verdict::Deny(denial));
    }

    #[test]
    fn errors_say_what_the_kernel_has() {
        let mut set = FilterSet::new(KernelModel::V7_0);
        let insns = assemble("ret #1").unwrap();
        let connect = Registration { pdu_size: 24, ..Registration::new(Opcode::CONNECT, &insns) };
        let error = set.register(connect).unwrap_err();
        assert_eq!(error.errno(), Errno::EMSGSIZE);
        assert_eq!(error.to_string(), "written for 24 bytes of connect payload where the kernel has 0");
    }
}
