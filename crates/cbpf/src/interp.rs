//! Programs that have passed the check, and running them.

use crate::check::{self, CheckError};
use crate::decoded::{Decoded, Outcome};
use crate::insn::Insn;
#[cfg(feature = "jit")]
use crate::native::{self, Native};
use crate::op::Op;
use crate::state::{Next, State};
use crate::{Machine, depend};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

/// A checked program: it ends, reads nothing but its context and cannot be changed. Clones share it.
///
/// The check decodes every instruction once, so that [`run`](Self::run) does not take opcodes apart:
/// a filter is registered once and then runs on every request.
///
/// ```
/// use ringwarden_cbpf::{Insn, Program, insn::*};
///
/// let program = Program::new(
///     &[Insn::stmt(BPF_LD | BPF_W | BPF_ABS, 16), Insn::stmt(BPF_RET | BPF_A, 0)],
///     40,
/// )?;
/// assert_eq!(program.run(&[0, 0, 45, 0, 2, 0, 0, 0, 0, 0]), 2);
/// assert_eq!(program.loads(), 1 << 4);
/// assert_eq!(program.constant(), None);
/// # Ok::<(), ringwarden_cbpf::CheckError>(())
/// ```
#[derive(Clone)]
pub struct Program(Arc<Checked>);

struct Checked {
    insns: Box<[Insn]>,
    ops: Box<[Op]>,
    context_bytes: usize,
    loads: u32,
    constant: Option<u32>,
    form: Form,
}

/// What a program runs as.
enum Form {
    Ops,
    Decoded(Decoded),
    #[cfg(feature = "jit")]
    Native(Native),
}

impl Program {
    /// Checks a program for a context of that many bytes.
    ///
    /// # Errors
    /// See [`check`](crate::check()).
    pub fn new(insns: &[Insn], context_bytes: usize) -> Result<Self, CheckError> {
        let ops = check::decode(insns, context_bytes)?;
        let loads = ops.iter().fold(0, |loads, op| match op {
            Op::LdAbs(word) => loads | 1 << word,
            _ => loads,
        });
        // No load gets past an empty context: what ends all the same has not read it.
        let constant = execute(&ops, 0, 0, &[], |_| {});
        let form = Form::Decoded(Decoded::new(&ops));
        Ok(Self(Arc::new(Checked {
            form,
            insns: insns.into(),
            ops: ops.into_boxed_slice(),
            context_bytes,
            loads,
            constant,
        })))
    }

    /// The same program, to be run by that machine, or by [`Machine::Decoded`] where it cannot.
    #[must_use]
    pub fn with_machine(self, machine: Machine) -> Self {
        if self.machine() == machine {
            return self;
        }
        match Form::all(core::slice::from_ref(&self), machine).pop() {
            Some(form) => self.with_form(form),
            None => self,
        }
    }

    /// The same for several, whose code is together in one piece of memory.
    pub fn all_with_machine(programs: Vec<Self>, machine: Machine) -> Vec<Self> {
        let forms = Form::all(&programs, machine);
        programs.into_iter().zip(forms).map(|(program, form)| program.with_form(form)).collect()
    }

    /// The code of several after one another, if they all are run as code, for contexts of the same size.
    #[cfg(feature = "jit")]
    pub(crate) fn chained(programs: &[Self]) -> Option<native::Chain> {
        let words = programs.first()?.context_bytes() / 4;
        let fits =
            |program: &Self| program.machine() == Machine::Native && program.context_bytes() / 4 == words;
        let ops: Vec<_> = programs.iter().map(|program| &*program.0.ops).collect();
        if programs.iter().all(fits) { native::Chain::new(&ops, words) } else { None }
    }

    #[cfg(not(feature = "jit"))]
    pub(crate) fn chained(_: &[Self]) -> Option<crate::chain::Code> {
        None
    }

    fn with_form(mut self, form: Form) -> Self {
        match Arc::get_mut(&mut self.0) {
            Some(checked) => checked.form = form,
            None => {
                let Checked { insns, ops, context_bytes, loads, constant, .. } = &*self.0;
                let (insns, ops) = (insns.clone(), ops.clone());
                let (context_bytes, loads, constant) = (*context_bytes, *loads, *constant);
                self = Self(Arc::new(Checked { form, insns, ops, context_bytes, loads, constant }));
            }
        }
        self
    }

    /// Runs the program on the words of a context, each in host order, and returns its value: 0
    /// refuses the request, anything else allows it.
    ///
    /// Words past [`context_bytes`](Self::context_bytes) are not read. A context that is shorter
    /// refuses: the value is 0 whatever the program says.
    #[inline]
    pub fn run(&self, context: &[u32]) -> u32 {
        match &self.0.form {
            #[cfg(feature = "jit")]
            Form::Native(native) => native.run(context),
            _ => self.interpret(context),
        }
    }

    fn interpret(&self, context: &[u32]) -> u32 {
        let Checked { ops, context_bytes, form, .. } = &*self.0;
        if context.len() < context_bytes / 4 {
            return 0;
        }
        let (at, a) = match form {
            Form::Decoded(decoded) => match decoded.run(context) {
                Outcome::Return(value) => return value,
                Outcome::GoOn { at, a } => (at, a),
            },
            _ => (0, 0),
        };
        execute(ops, at, a, context, |_| {}).unwrap_or(0)
    }

    /// What runs it.
    pub fn machine(&self) -> Machine {
        match self.0.form {
            Form::Ops => Machine::Interpreter,
            Form::Decoded(_) => Machine::Decoded,
            #[cfg(feature = "jit")]
            Form::Native(_) => Machine::Native,
        }
    }

    /// The instructions that [`run`](Self::run) executes, in order; the last is the RET, or the division
    /// by 0 that returns 0. Empty where the context is too short.
    pub fn trace(&self, context: &[u32]) -> Vec<Step> {
        let mut steps = Vec::new();
        if context.len() >= self.0.context_bytes / 4 {
            execute(&self.0.ops, 0, 0, context, |step| steps.push(step));
        }
        steps
    }

    /// The instructions as they were given.
    pub fn insns(&self) -> &[Insn] {
        &self.0.insns
    }

    /// The size in bytes of the context it was checked for.
    pub fn context_bytes(&self) -> usize {
        self.0.context_bytes
    }

    /// The words of the context that its load instructions name, reachable or not: bit *n* is the
    /// word at byte 4*n*.
    pub fn loads(&self) -> u32 {
        self.0.loads
    }

    /// Whether its verdict, a value of 0 or another, may change with the bits of its context that are set in
    /// `bits`, word by word, while all others stay the same. False only if it never does; true even where
    /// the reason that it does not is beyond following every bit by itself.
    ///
    /// ```
    /// use ringwarden_cbpf::{Program, asm::assemble};
    ///
    /// let insns = assemble("ld [8]\n jset #0x2000, deny\n ret #1\n deny: ret #0")?;
    /// let program = Program::new(&insns, 40)?;
    /// assert!(program.depends_on(&[0, 0, 0x2000]));
    /// assert!(!program.depends_on(&[0, 0, 0x1000]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn depends_on(&self, bits: &[u32]) -> bool {
        depend::depends(&self.0.ops, bits)
    }

    /// The program's value where it returns before any load of the context, hence the same for
    /// every request; else `None`, even if its value should not depend on what it loads.
    pub fn constant(&self) -> Option<u32> {
        self.0.constant
    }
}

/// Programs are equal that have the same instructions for the same context, whatever runs them.
impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        self.insns() == other.insns() && self.context_bytes() == other.context_bytes()
    }
}

impl Eq for Program {}

impl Hash for Program {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.insns().hash(state);
        self.context_bytes().hash(state);
    }
}

impl Form {
    /// What each of the programs runs as.
    fn all(programs: &[Program], machine: Machine) -> Vec<Self> {
        let decoded = || programs.iter().map(|program| Self::Decoded(Decoded::new(&program.0.ops))).collect();
        match machine {
            Machine::Interpreter => programs.iter().map(|_| Self::Ops).collect(),
            Machine::Decoded => decoded(),
            Machine::Native => Self::native(programs).unwrap_or_else(decoded),
        }
    }

    #[cfg(feature = "jit")]
    fn native(programs: &[Program]) -> Option<Vec<Self>> {
        let programs: Vec<_> =
            programs.iter().map(|Program(checked)| (&*checked.ops, checked.context_bytes / 4)).collect();
        Some(Native::all(&programs)?.into_iter().map(Self::Native).collect())
    }

    #[cfg(not(feature = "jit"))]
    fn native(_: &[Program]) -> Option<Vec<Self>> {
        None
    }
}

impl core::fmt::Debug for Program {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Program")
            .field("insns", &self.0.insns)
            .field("context_bytes", &self.0.context_bytes)
            .finish_non_exhaustive()
    }
}

/// An instruction as it is about to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// Its place in the program, from 0.
    pub index: usize,
    /// The accumulator before it.
    pub a: u32,
    /// The index register before it.
    pub x: u32,
}

/// Runs instructions from `pc` on to their RET, or gives `None` where a load finds no word in `context`. At first all is
/// 0 but A. `see` is shown each instruction before it runs.
///
/// Checked instructions always reach a RET: `pc` grows with every step and no jump leaves the
/// program. Running off its end would give `None` as well.
fn execute(ops: &[Op], mut pc: usize, a: u32, context: &[u32], mut see: impl FnMut(Step)) -> Option<u32> {
    let mut state = State::with_a(a);
    loop {
        let op = *ops.get(pc)?;
        see(Step { index: pc, a: state.a, x: state.x });
        match state.execute(op, context)? {
            Next::Skip(skipped) => pc += 1 + skipped,
            Next::Return(value) => return Some(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asm::assemble;
    use alloc::format;
    use alloc::string::String;

    fn program(text: &str) -> Program {
        Program::new(&assemble(text).expect("a text"), 40).expect("an accepted program")
    }

    #[test]
    fn a_short_context_refuses() {
        let allow = program("ret #1");
        assert_eq!(allow.run(&[0; 10]), 1);
        assert_eq!(allow.run(&[0; 11]), 1, "words past the context do not matter");
        assert_eq!(allow.run(&[0; 9]), 0);
        assert_eq!(allow.run(&[]), 0);
    }

    #[test]
    fn a_program_is_constant_until_it_loads() {
        assert_eq!(program("ret #7").constant(), Some(7));
        assert_eq!(program("ld len\n add #2\n ret a").constant(), Some(42));
        assert_eq!(program("div x\n ret #1").constant(), Some(0));
        assert_eq!(program("jmp end\n ld [0]\n end: ret #1").constant(), Some(1));
        assert_eq!(program("ld [0]\n ret #1").constant(), None);
    }

    #[test]
    fn loads_are_those_of_every_instruction() {
        assert_eq!(program("ld [0]\n ret #1\n ld [36]\n ret a").loads(), 1 << 0 | 1 << 9);
        assert_eq!(program("ld len\n ld #8\n ret a").loads(), 0);
    }

    #[test]
    fn a_trace_is_what_runs() {
        let program = program("ld [16]\n jeq #2, yes, no\n yes: tax\n ld [20]\n div x\n no: ret a");
        let seen = |context: &[u32]| {
            program.trace(context).iter().map(|step| (step.index, step.a, step.x)).collect::<Vec<_>>()
        };
        let mut context = [0, 0, 0, 0, 2, 9, 0, 0, 0, 0];
        assert_eq!(seen(&context), [(0, 0, 0), (1, 2, 0), (2, 2, 0), (3, 2, 2), (4, 9, 2), (5, 4, 2)]);
        context[4] = 3;
        assert_eq!(seen(&context), [(0, 0, 0), (1, 3, 0), (5, 3, 0)]);
        assert_eq!(seen(&context[1..]), []);
    }

    #[test]
    fn cells_are_apart() {
        let stores: String = (0..16).map(|cell| format!("ld #{}\n st M[{cell}]\n", cell + 100)).collect();
        for cell in 0..16 {
            assert_eq!(program(&format!("{stores} ld M[{cell}]\n ret a")).constant(), Some(cell + 100));
        }
    }

    #[test]
    fn clones_share_and_equal_programs_are_equal() {
        let one = program("ld [8]\n ret a");
        assert!(core::ptr::eq(one.insns(), one.clone().insns()));
        assert_eq!(one, program("ld [8]\n ret a"));
        assert_ne!(one, Program::new(one.insns(), 64).expect("an accepted program"));
    }
}
