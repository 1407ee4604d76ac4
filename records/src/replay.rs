//! What would change for recorded requests under another policy.
//!
//! Row groups are read one by one, by some threads: memory is a batch of rows and some pages for each thread, whatever
//! the size of the files.

use crate::batch::Words;
use crate::error::{Error, Place};
use crate::judge::{Judge, Judged, rule_text};
use crate::limits::MOST_TEXTS;
use crate::record::Record;
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, DictionaryArray, RecordBatch, StringArray};
use ringwarden::uapi::Opcode;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// What would change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// How many requests were judged.
    pub requests: u64,
    /// How many of them would be refused that were allowed.
    pub newly_refused: u64,
    /// How many would be allowed that the rules refused.
    pub newly_allowed: u64,
    /// How many may be either: what the verdict depends on was not recorded.
    pub undecided: u64,
    /// How many more there were that were not recorded at all: they came too fast.
    pub lost: u64,
    /// The changes and what is undecided, the most frequent first.
    pub changes: Vec<Change>,
}

/// Requests of one program and operation, which the same rule would treat otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Change {
    /// What would become of them.
    pub effect: Effect,
    /// The program.
    pub program: String,
    /// The operation.
    pub op: String,
    /// The rule that refuses them: of the new policy, or where they would be allowed, of the one in force then. None
    /// where nobody knows.
    pub rule: Option<String>,
    /// How many.
    pub requests: u64,
    /// The first of them.
    pub first: Found,
}

/// What would become of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Effect {
    /// They were allowed, and would be refused.
    Refused,
    /// The rules refused them, and would allow them.
    Allowed,
    /// One of both.
    Undecided,
}

/// Where a request is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct Found {
    /// The file.
    pub file: PathBuf,
    /// The number of the row, from 0.
    pub row: u64,
}

impl Report {
    /// Whether nothing would change, as far as that is known.
    pub fn is_unchanged(&self) -> bool {
        self.changes.is_empty() && self.lost == 0
    }
}

/// What is told meanwhile.
#[derive(Debug, Default)]
pub struct Progress {
    requests: AtomicU64,
}

impl Progress {
    /// How many requests have been judged so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// Judges all requests again, with that many threads.
///
/// # Errors
/// The first part of a file that is not what it has to be. There is no report then, nor a part of one.
pub fn replay(
    records: &[Record],
    judge: &Judge,
    threads: usize,
    progress: &Progress,
) -> Result<Report, Error> {
    let parts = records.iter().enumerate();
    let parts: Vec<_> =
        parts.flat_map(|(at, record)| (0..record.row_groups()).map(move |group| (at, group))).collect();
    let mut columns: Vec<&str> = judge.columns().collect();
    columns.extend(["program", "verdict", "rule", "complete"]);
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        let mut tally = Tally::new(judge);
        while !stop.load(Ordering::Relaxed)
            && let Some(&(at, group)) = parts.get(next.fetch_add(1, Ordering::Relaxed))
        {
            let read = records[at].read(group, &columns, |first, batch| {
                progress.requests.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
                tally.add(&records[at], at, first, batch)
            });
            if let Err(error) = read {
                stop.store(true, Ordering::Relaxed);
                return Err(((at, group), error));
            }
        }
        Ok(tally)
    };
    let done: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    let (mut total, mut wrong) = (Tally::new(judge), Vec::new());
    for tally in done {
        match tally {
            Ok(Ok(tally)) => total.merge(tally),
            Ok(Err(error)) => wrong.push(error),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    match wrong.into_iter().min_by_key(|(part, _)| *part) {
        Some((_, error)) => Err(error),
        None => Ok(total.report(records)),
    }
}

/// Texts by numbers.
#[derive(Default)]
struct Texts {
    numbers: HashMap<String, u32>,
    texts: Vec<String>,
}

impl Texts {
    fn number(&mut self, text: &str) -> Option<u32> {
        if let Some(&number) = self.numbers.get(text) {
            return Some(number);
        }
        if self.texts.len() >= MOST_TEXTS {
            return None;
        }
        let number = self.texts.len() as u32;
        self.numbers.insert(text.to_owned(), number);
        self.texts.push(text.to_owned());
        Some(number)
    }
}

/// What is counted together; texts by their numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    effect: Effect,
    opcode: u8,
    program: u32,
    rule: Option<u32>,
}

/// How often, and where first: the file's number and the row.
#[derive(Clone, Copy)]
struct Count {
    requests: u64,
    first: (usize, u64),
}

/// What one thread has counted.
struct Tally<'j> {
    judge: &'j Judge,
    requests: u64,
    texts: Texts,
    changes: HashMap<Key, Count>,
    /// The rules behind refusals, where those settle it.
    rules: HashMap<(u8, Judged), Option<u32>>,
    /// Those behind others, by the place in memory where the judge has them.
    origins: HashMap<usize, u32>,
    verdicts: Vec<Judged>,
}

/// A column of texts that many rows share.
struct Shared<'b> {
    name: &'static str,
    array: &'b DictionaryArray<Int32Type>,
    texts: &'b StringArray,
}

impl<'b> Shared<'b> {
    fn of(batch: &'b RecordBatch, name: &'static str) -> Result<Self, String> {
        let array = batch.column_by_name(name).and_then(|array| array.as_dictionary_opt::<Int32Type>());
        let texts = array.and_then(|array| array.values().as_string_opt::<i32>());
        let (array, texts) =
            array.zip(texts).ok_or_else(|| format!("the column `{name}` is not what it has to be"))?;
        if array.nulls().is_some_and(|nulls| nulls.null_count() > 0) && name != "rule" {
            return Err(format!("the column `{name}` has nulls"));
        }
        Ok(Self { name, array, texts })
    }

    fn key(&self, row: usize) -> Result<usize, String> {
        let key = usize::try_from(self.array.keys().value(row)).ok();
        key.filter(|key| *key < self.texts.len())
            .ok_or_else(|| format!("the column `{}` refers to a text that is not there", self.name))
    }

    fn text(&self, row: usize) -> Result<Option<&'b str>, String> {
        if self.array.is_null(row) { Ok(None) } else { Ok(Some(self.texts.value(self.key(row)?))) }
    }
}

impl<'j> Tally<'j> {
    fn new(judge: &'j Judge) -> Self {
        Self {
            judge,
            requests: 0,
            texts: Texts::default(),
            changes: HashMap::new(),
            rules: HashMap::new(),
            origins: HashMap::new(),
            verdicts: Vec::new(),
        }
    }

    fn add(&mut self, record: &Record, at: usize, first: u64, batch: &RecordBatch) -> Result<(), Error> {
        let words = record.words(first, batch)?;
        let mut row = 0;
        self.add_rows(&words, batch, (at, first), &mut row)
            .map_err(|reason| record.wrong(Place::Row(first + row as u64), reason))
    }

    fn add_rows(
        &mut self,
        words: &Words<'_>,
        batch: &RecordBatch,
        (at, first): (usize, u64),
        row: &mut usize,
    ) -> Result<(), String> {
        let verdict = Shared::of(batch, "verdict")?;
        let [program, rule] = [Shared::of(batch, "program")?, Shared::of(batch, "rule")?];
        let complete = batch.column_by_name("complete").and_then(|array| array.as_boolean_opt());
        let complete = complete.filter(|complete| complete.null_count() == 0);
        let complete = complete.ok_or("the column `complete` is not what it has to be")?;
        // Whether each of the texts is a permission.
        let allowed: Vec<Option<bool>> = (0..verdict.texts.len())
            .map(|index| match verdict.texts.value(index) {
                "allow" => Some(true),
                "deny" | "permit" => Some(false),
                _ => None,
            })
            .collect();
        let mut verdicts = std::mem::take(&mut self.verdicts);
        if complete.true_count() == complete.len() {
            self.judge.judge(words, |_| true, &mut verdicts);
        } else {
            self.judge.judge(words, |row| complete.value(row), &mut verdicts);
        }
        let mut last: Option<(Key, Count)> = None;
        for (index, (&judged, &key)) in verdicts.iter().zip(verdict.array.keys().values()).enumerate() {
            *row = index;
            let was = usize::try_from(key).ok().and_then(|key| allowed.get(key).copied().flatten());
            let was = was.ok_or("the verdict is none of `allow`, `deny` and `permit`")?;
            let effect = match (was, judged) {
                (true, Judged::Allow) | (false, Judged::Filter(_) | Judged::Rest | Judged::Unknown) => {
                    continue;
                }
                (_, Judged::Undecided) => Effect::Undecided,
                (true, _) => Effect::Refused,
                (false, _) => Effect::Allowed,
            };
            let opcode = words.opcodes().map_or(0, |opcodes| opcodes[index]);
            let many = || "there are too many different texts".to_owned();
            let by = match effect {
                Effect::Refused => self.rule(words, index, opcode, judged)?,
                _ => rule.text(index)?.map(|text| self.texts.number(text).ok_or_else(many)).transpose()?,
            };
            let name = program.text(index)?.unwrap_or_default();
            let key = Key { effect, opcode, program: self.texts.number(name).ok_or_else(many)?, rule: by };
            match &mut last {
                Some((same, count)) if *same == key => count.requests += 1,
                _ => {
                    self.count(last.take());
                    last = Some((key, Count { requests: 1, first: (at, first + index as u64) }));
                }
            }
        }
        self.count(last);
        self.requests += verdicts.len() as u64;
        self.verdicts = verdicts;
        Ok(())
    }

    /// The number of the rule that refuses a request.
    fn rule(
        &mut self,
        words: &Words<'_>,
        row: usize,
        opcode: u8,
        judged: Judged,
    ) -> Result<Option<u32>, String> {
        let too_many = "there are too many different texts";
        if let Judged::Filter(tag) = judged
            && self.judge.needs_words(judged)
        {
            let Some(origin) = self.judge.origin(tag, &words.context(row)) else { return Ok(None) };
            let place = std::ptr::from_ref(origin).addr();
            if let Some(&known) = self.origins.get(&place) {
                return Ok(Some(known));
            }
            let number = self.texts.number(&rule_text(origin)).ok_or(too_many)?;
            self.origins.insert(place, number);
            return Ok(Some(number));
        }
        if let Some(known) = self.rules.get(&(opcode, judged)) {
            return Ok(*known);
        }
        let number = match self.judge.rule(opcode, judged, None) {
            Some(text) => Some(self.texts.number(&text).ok_or(too_many)?),
            None => None,
        };
        self.rules.insert((opcode, judged), number);
        Ok(number)
    }

    fn count(&mut self, counted: Option<(Key, Count)>) {
        let Some((key, count)) = counted else { return };
        let all = self.changes.entry(key).or_insert(Count { requests: 0, first: count.first });
        all.requests += count.requests;
        all.first = all.first.min(count.first);
    }

    /// Takes in what another thread has counted.
    fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        for (key, count) in other.changes {
            let mut number = |number: u32| {
                let text = &other.texts.texts[number as usize];
                // Both together may have twice as many.
                self.texts.numbers.get(text).copied().unwrap_or_else(|| {
                    let number = self.texts.texts.len() as u32;
                    self.texts.numbers.insert(text.clone(), number);
                    self.texts.texts.push(text.clone());
                    number
                })
            };
            let key = Key { program: number(key.program), rule: key.rule.map(number), ..key };
            self.count(Some((key, count)));
        }
    }

    fn report(self, records: &[Record]) -> Report {
        let lost = records.iter().fold(0u64, |lost, record| lost.saturating_add(record.metadata().lost));
        let mut report = Report { requests: self.requests, lost, ..Report::default() };
        let text = |number: u32| self.texts.texts[number as usize].clone();
        let mut sums = BTreeMap::from([(Effect::Refused, 0), (Effect::Allowed, 0), (Effect::Undecided, 0)]);
        for (key, count) in &self.changes {
            *sums.entry(key.effect).or_default() += count.requests;
            report.changes.push(Change {
                effect: key.effect,
                program: text(key.program),
                op: Opcode(key.opcode).to_string(),
                rule: key.rule.map(text),
                requests: count.requests,
                first: Found { file: records[count.first.0].path().to_owned(), row: count.first.1 },
            });
        }
        let sum = |effect| sums.get(&effect).copied().unwrap_or_default();
        report.newly_refused = sum(Effect::Refused);
        report.newly_allowed = sum(Effect::Allowed);
        report.undecided = sum(Effect::Undecided);
        report.changes.sort_by(|a, b| {
            let key = |change: &Change| (std::cmp::Reverse(change.requests), change.effect);
            let texts = |change: &Change| (change.program.clone(), change.op.clone(), change.rule.clone());
            key(a).cmp(&key(b)).then_with(|| texts(a).cmp(&texts(b)))
        });
        report
    }
}
