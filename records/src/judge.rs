//! [`Judge`]: the verdicts of policies on batches of recorded requests.

use crate::batch::Words;
use crate::columns::{OF_WORD, SHOWN};
use ringwarden::filter::{Context, Verdict};
use ringwarden::policy::file::FileError;
use ringwarden::policy::{Policy, RuleOrigin};
use ringwarden::uapi::ring::{Sqe, SqeFlags};
use ringwarden::uapi::{KernelModel, Opcode};
use ringwarden::{EnforceError, Enforcement};
use ringwarden_filter::{FilterSet, Machine};
use ringwarden_trace::WORDS;

/// What a request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Judged {
    /// It is allowed.
    Allow,
    /// It is refused, by the filter of that tag.
    Filter(u32),
    /// It is refused, as an operation that nobody has named.
    Rest,
    /// The model has no such operation.
    Unknown,
    /// Something that the verdict may depend on was not recorded.
    Undecided,
}

/// Why a policy cannot judge.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// It cannot be read, or is none.
    #[error(transparent)]
    File(#[from] FileError),
    /// It cannot be enforced.
    #[error(transparent)]
    Enforce(#[from] EnforceError),
}

/// Judges requests by some policies, all of which must allow them.
#[derive(Debug)]
pub struct Judge {
    enforcement: Enforcement,
    policies: Vec<Policy>,
    /// Which of them a filter is of. Index: tag.
    layers: Vec<usize>,
    /// Index: opcode.
    operations: Vec<Operation>,
    /// Some policy requires something of every request, and a program stands for that and a rule together.
    requires: bool,
}

/// Of the words of a request that was not recorded whole those bits that are not known: all but `user_data`, the opcode and the
/// flags, and of those `IOSQE_ASYNC` and `IOSQE_IO_DRAIN`, which the kernel may have added.
const UNKNOWN: [u32; WORDS] = {
    let added = SqeFlags::ASYNC.bits() | SqeFlags::IO_DRAIN.bits();
    let mut bits = [u32::MAX; WORDS];
    (bits[0], bits[1], bits[2]) = (0, 0, u32::from_ne_bytes([0, added, 0, 0]));
    bits
};

#[derive(Clone, Debug)]
struct Operation {
    /// The newest first.
    programs: Vec<Asked>,
    /// Where no program objects.
    last: Judged,
    /// The same for every request, whatever it asks for.
    settled: Option<Judged>,
    loads: u32,
}

/// A program of an operation.
#[derive(Clone, Debug)]
struct Asked {
    program: ringwarden::cbpf::Program,
    tag: u32,
    /// Whether what is [`UNKNOWN`] may matter to it.
    needs_all: bool,
}

impl Judge {
    /// Reads and compiles policies. A name that begins with `@` is a preset's.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn of_files(names: &[String]) -> Result<Self, PolicyError> {
        let policies = names.iter().map(Policy::from_file).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::new(&policies)?)
    }

    /// Compiles policies.
    ///
    /// # Errors
    /// They cannot be enforced.
    pub fn new(policies: &[Policy]) -> Result<Self, EnforceError> {
        let enforcement = Enforcement::new(policies, KernelModel::Guard)?;
        let filters = enforcement.filters().clone().with_machine(Machine::Native);
        let operations = (0..=u8::MAX).map(|opcode| Operation::of(&filters, Opcode(opcode))).collect();
        let requires = policies.iter().any(|policy| policy.requirement().is_some());
        let mut layers = Vec::new();
        for (filter, _) in enforcement.programs() {
            let tag = filter.tag as usize;
            layers.resize(layers.len().max(tag + 1), 0);
            layers[tag] = filter.layer;
        }
        Ok(Self { enforcement, policies: policies.to_vec(), layers, operations, requires })
    }

    /// What the policies come to.
    pub fn enforcement(&self) -> &Enforcement {
        &self.enforcement
    }

    /// The columns that the verdict on some request depends on.
    pub fn columns(&self) -> impl Iterator<Item = &'static str> {
        // Whoever names the rule behind a refusal may have to look at all of them.
        let loads = if self.requires { u32::MAX } else { self.loads() };
        let of_word = move |index: usize| {
            (0..WORDS).any(|word| loads & 1 << word != 0 && OF_WORD[word].contains(&index))
        };
        let all = SHOWN.iter().enumerate();
        all.filter(move |(index, (name, _))| *name == "opcode" || of_word(*index)).map(|(_, (name, _))| *name)
    }

    fn loads(&self) -> u32 {
        self.operations.iter().fold(0, |all, operation| all | operation.loads)
    }

    /// Puts the verdict on each row into `verdicts`. `complete` says of each whether all that filters see is known.
    pub fn judge(&self, words: &Words<'_>, complete: impl Fn(usize) -> bool, verdicts: &mut Vec<Judged>) {
        verdicts.clear();
        let opcodes = words.opcodes().unwrap_or_default();
        let mut context = [0; WORDS];
        verdicts.extend(opcodes.iter().enumerate().map(|(row, &opcode)| {
            let operation = &self.operations[usize::from(opcode)];
            match operation.settled {
                Some(judged) => judged,
                None => {
                    words.load(row, operation.loads, &mut context);
                    if complete(row) { operation.judge(&context) } else { operation.judge_part(&context) }
                }
            }
        }));
    }

    /// Whether the rule behind a refusal is not settled by who refuses: then it takes the [words](Self::rule) of the request.
    pub fn needs_words(&self, judged: Judged) -> bool {
        self.requires && matches!(judged, Judged::Filter(_))
    }

    /// The rule behind a refusal by the filter of that tag, which is the same reference for the same rule.
    pub(crate) fn origin(&self, tag: u32, words: &[u32; WORDS]) -> Option<&RuleOrigin> {
        Some(self.policies.get(*self.layers.get(tag as usize)?)?.decide(words).1)
    }

    /// The rule behind a refusal, as `KEY at FILE:LINE`; `words` are those of the request, where that
    /// [needs](Self::needs_words) them.
    pub fn rule(&self, opcode: u8, judged: Judged, words: Option<&[u32; WORDS]>) -> Option<String> {
        let op = Opcode(opcode);
        match (judged, words) {
            // One program stands for the operation's rule and what is required of every one.
            (Judged::Filter(tag), Some(words)) if self.requires => self.origin(tag, words).map(rule_text),
            (Judged::Filter(tag), _) => {
                let at = self.enforcement.filters().filters(op).position(|filter| filter.tag == tag)?;
                self.enforcement.rules(op).nth(at).map(|origin| rule_text(&origin.rule))
            }
            (Judged::Rest, _) => {
                let context = Context::header(KernelModel::Guard, &Sqe { opcode, ..Sqe::default() });
                let Verdict::Deny(denial) = self.enforcement.filters().verdict(&context) else { return None };
                self.enforcement.origin(&denial, &context).map(|origin| rule_text(&origin.rule))
            }
            _ => None,
        }
    }
}

/// A rule as records name it: `KEY at FILE:LINE`.
pub(crate) fn rule_text(rule: &RuleOrigin) -> String {
    format!("{} at {}:{}", rule.key, rule.file, rule.line)
}

impl Operation {
    fn of(filters: &FilterSet, opcode: Opcode) -> Self {
        let programs = filters.filters(opcode).map(|filter| Asked {
            program: filter.program.clone(),
            tag: filter.tag,
            needs_all: filter.program.depends_on(&UNKNOWN),
        });
        let programs: Vec<_> = programs.collect();
        let last = match () {
            () if usize::from(opcode.0) >= usize::from(filters.model().facts().opcodes) => Judged::Unknown,
            () if filters.is_rest_denied(opcode) => Judged::Rest,
            () => Judged::Allow,
        };
        // The newest is asked first: who comes before one that depends on the request settles nothing.
        let mut settled = Some(last);
        for Asked { program, tag, .. } in programs.iter().rev() {
            settled = match program.constant() {
                Some(0) => Some(Judged::Filter(*tag)),
                Some(_) => settled,
                None => None,
            };
        }
        let loads = programs.iter().fold(0, |all, asked| all | asked.program.loads());
        Self { programs, last, settled, loads }
    }

    #[inline]
    fn judge(&self, context: &[u32; WORDS]) -> Judged {
        let refuses = self.programs.iter().find(|asked| asked.program.run(context) == 0);
        refuses.map_or(self.last, |asked| Judged::Filter(asked.tag))
    }

    /// The same where only a part of the context is known.
    fn judge_part(&self, context: &[u32; WORDS]) -> Judged {
        let decides = self.programs.iter().find(|asked| asked.needs_all || asked.program.run(context) == 0);
        match decides {
            Some(asked) if asked.needs_all => Judged::Undecided,
            Some(asked) => Judged::Filter(asked.tag),
            None => self.last,
        }
    }
}
