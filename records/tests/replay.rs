//! Records are judged as the filter engine judges, and what would change is counted.

mod made;

use made::{contexts, request, write, write_contexts};
use ringwarden::Enforcement;
use ringwarden::filter::{Context, Denial, DeniedBy, Verdict};
use ringwarden::policy::Policy;
use ringwarden::uapi::ring::{Sqe, SqeFlags};
use ringwarden::uapi::{KernelModel, Opcode};
use ringwarden_records::columns::SHOWN;
use ringwarden_records::replay::{Effect, Progress, replay};
use ringwarden_records::{Judge, Judged, Outcome, Record, Recording, Words};
use ringwarden_trace::{Item, Preamble, Request};
use std::collections::BTreeMap;

const POLICIES: [&str; 4] = [
    "version = 1\ndefault = \"allow\"\n",
    "version = 1\ndefault = \"deny\"\n[ops]\nread = \"allow\"\nsocket = \"family == AF_UNIX\"\nnop = \"user_data < 9\"\n\
     connect = \"family == AF_INET && port > 1000\"\nopenat2 = \"!(flags & O_CREAT)\"\n",
    "version = 1\ndefault = \"allow\"\n[all]\nrequire = \"!(sqe_flags & IOSQE_IO_DRAIN)\"\n[ops]\nwrite = \"deny\"\n\
     socket = \"family in {AF_UNIX, AF_INET}\"\n",
    "version = 1\ndefault = \"allow\"\n[ops]\nread = \"fd < 6\"\nwrite = \"len < 0x80000000\"\nbind = \"port == 0 || port > 1023\"\n",
];

fn judge(texts: &[&str]) -> (Judge, Enforcement) {
    let policies: Vec<_> =
        texts.iter().map(|text| Policy::parse(text, "new.toml").expect("a policy")).collect();
    let enforcement = Enforcement::new(&policies, KernelModel::Guard).expect("enforceable");
    (Judge::new(&policies).expect("enforceable"), enforcement)
}

/// Through the file and back, all words are what they were, and so is the verdict, and the rule behind it.
#[test]
fn a_record_is_judged_as_the_engine_judges() {
    let contexts = contexts(1, 20_000);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.parquet");
    write_contexts(&path, &contexts);
    let record = Record::open(&path).expect("a record");
    assert_eq!((record.requests(), record.metadata().rings.entries), (20_000, 8));
    let all: Vec<_> = SHOWN.iter().map(|(name, _)| *name).collect();
    let mut sets: Vec<Vec<&str>> = POLICIES.iter().map(|text| vec![*text]).collect();
    sets.push(vec![POLICIES[1], POLICIES[2], POLICIES[3]]);
    for texts in sets {
        let (judge, enforcement) = judge(&texts);
        let needed: Vec<_> = judge.columns().collect();
        let (mut refused, mut seen) = (0, 0);
        for columns in [&all, &needed] {
            seen = 0;
            record
                .read(0, columns, |first, batch| {
                    let words =
                        Words::new(batch.num_rows(), |name| batch.column_by_name(name)).expect("words");
                    let mut verdicts = Vec::new();
                    judge.judge(&words, |_| true, &mut verdicts);
                    for (row, judged) in verdicts.into_iter().enumerate() {
                        let context = &contexts[first as usize + row];
                        if columns.len() == all.len() {
                            assert_eq!(words.context(row), *context.words());
                        }
                        let verdict = enforcement.filters().verdict(context);
                        let expected = match verdict {
                            Verdict::Allow => Judged::Allow,
                            Verdict::Deny(Denial { by: DeniedBy::Filter { tag }, .. }) => Judged::Filter(tag),
                            Verdict::Deny(Denial { by: DeniedBy::Rest, .. }) => Judged::Rest,
                            Verdict::Deny(_) => Judged::Unknown,
                        };
                        assert_eq!(judged, expected, "{texts:?} {context:?}");
                        seen += 1;
                        let Verdict::Deny(denial) = verdict else { continue };
                        refused += 1;
                        let own = judge.needs_words(judged).then(|| words.context(row));
                        let rule = judge.rule(context.opcode().0, judged, own.as_ref());
                        let origin = enforcement.origin(&denial, context).map(|origin| origin.rule);
                        let expected =
                            origin.map(|rule| format!("{} at {}:{}", rule.key, rule.file, rule.line));
                        assert_eq!(rule, expected, "{context:?}");
                    }
                    Ok(())
                })
                .expect("read");
        }
        assert_eq!(seen, 20_000);
        assert!(refused > 0);
    }
}

/// What would change is what the engine says of each request, counted; by however many threads, and over files.
#[test]
fn changes_are_counted_by_program_operation_and_rule() {
    // Of the second, one program stands for two rules.
    [POLICIES[1], POLICIES[2]].into_iter().for_each(counted);
}

fn counted(policy: &str) {
    let contexts = contexts(2, 30_000);
    let (judge, enforcement) = judge(&[policy]);
    let folder = tempfile::tempdir().expect("a folder");
    let mut expected = BTreeMap::<(Effect, String, String, Option<String>), u64>::new();
    let mut files = Vec::new();
    for (number, part) in contexts.chunks(11_000).enumerate() {
        let path = folder.path().join(format!("{number}.parquet"));
        let requests = part.iter().enumerate().map(|(row, context)| {
            let mut request = request(context, row);
            // Some were refused, some of those passed all the same, and of some not all is known.
            request.verdict = [0, 0, 1, 2][row / 2 % 4];
            request.complete = u8::from(row % 7 != 0);
            if request.verdict > 0 {
                request.rule = 0.into();
            }
            let op = context.opcode();
            let verdict = enforcement.filters().verdict(context);
            let old = Some("openat at old.toml:3".to_owned());
            // `user_data` is always known.
            let is_known = op == Opcode::NOP && policy == POLICIES[1];
            let needs_all = !is_known && enforcement.filters().outright(op).is_none();
            let effect = match (request.verdict == 0, verdict) {
                _ if request.complete == 0 && needs_all => {
                    Some((Effect::Undecided, old.filter(|_| request.verdict > 0)))
                }
                (true, Verdict::Deny(denial)) => {
                    let rule = enforcement.origin(&denial, context).map(|origin| origin.rule);
                    let rule = rule.map(|rule| format!("{} at {}:{}", rule.key, rule.file, rule.line));
                    Some((Effect::Refused, rule))
                }
                (false, Verdict::Allow) => Some((Effect::Allowed, old)),
                _ => None,
            };
            if let Some((effect, rule)) = effect {
                let program = ["some", "that"][row % 2].to_owned();
                *expected.entry((effect, program, op.to_string(), rule)).or_default() += 1;
            }
            request
        });
        write(&path, requests.collect::<Vec<_>>());
        files.push(Record::open(&path).expect("a record"));
    }
    for threads in [1, 3] {
        let progress = Progress::default();
        let report = replay(&files, &judge, threads, &progress).expect("a report");
        assert_eq!((report.requests, progress.requests()), (30_000, 30_000));
        let found: BTreeMap<_, _> = report
            .changes
            .iter()
            .map(|change| {
                let key = (change.effect, change.program.clone(), change.op.clone(), change.rule.clone());
                (key, change.requests)
            })
            .collect();
        assert_eq!(found, expected);
        let sum =
            |effect| expected.iter().filter(|(key, _)| key.0 == effect).map(|(_, count)| count).sum::<u64>();
        assert_eq!(report.newly_refused, sum(Effect::Refused));
        assert_eq!(report.newly_allowed, sum(Effect::Allowed));
        assert_eq!(report.undecided, sum(Effect::Undecided));
        assert!(report.changes.is_sorted_by_key(|change| std::cmp::Reverse(change.requests)));
    }
    let nothing = replay(&files[..0], &judge, 2, &Progress::default()).expect("a report");
    assert!(nothing.is_unchanged() && nothing.requests == 0);
}

/// Where all that is known is what the kernel's tracepoint of allowed requests tells, that decides where nothing else is asked
/// for.
#[test]
fn what_was_not_recorded_whole_is_undecided_only_where_it_matters() {
    const POLICY: &str = "version = 1\ndefault = \"deny\"\n[all]\nrequire = \"!(sqe_flags & IOSQE_IO_LINK)\"\n[ops]\n\
        read = \"allow\"\nsocket = \"family == AF_UNIX\"\nnop = \"user_data < 9\"\n\
        send = \"!(sqe_flags & IOSQE_FIXED_FILE)\"\nrecv = \"!(sqe_flags & IOSQE_ASYNC)\"\n\
        accept = \"user_data > 1 && fd < 6\"\n";
    let (link, fixed) = (SqeFlags::IO_LINK.bits(), SqeFlags::FIXED_FILE.bits());
    let cases = [
        (Opcode::READ, 0, 0, Judged::Allow),
        // Nobody has named it.
        (Opcode::WRITE, 0, 0, Judged::Rest),
        (Opcode::NOP, 0, 8, Judged::Allow),
        (Opcode::NOP, 0, 9 << 32, Judged::Filter(0)),
        (Opcode::SEND, 0, 0, Judged::Allow),
        (Opcode::SEND, fixed, 0, Judged::Filter(0)),
        (Opcode::READ, link, 0, Judged::Filter(0)),
        (Opcode::SOCKET, 0, 0, Judged::Undecided),
        (Opcode::ACCEPT, 0, 9, Judged::Undecided),
        // The kernel may have added it.
        (Opcode::RECV, 0, 0, Judged::Undecided),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.parquet");
    let preamble = Preamble { model: "guard".into(), ..Preamble::default() };
    let mut recording = Recording::create(&path, &preamble).expect("a new file");
    for (op, flags, user_data, _) in &cases {
        let sqe = Sqe { opcode: op.0, flags: *flags, user_data: *user_data, ..Sqe::default() };
        let context = Context::header(KernelModel::Guard, &sqe);
        recording.add(Item::Request(Request { complete: 0, ..request(&context, 0) })).expect("written");
    }
    for lost in [40, 2] {
        recording.add(Item::Lost(lost)).expect("written");
    }
    recording.finish().expect("written");
    let record = Record::open(&path).expect("a record");
    assert_eq!(record.metadata().lost, 42);
    let (judge, _) = judge(&[POLICY]);
    let mut verdicts = Vec::new();
    let columns: Vec<_> = judge.columns().collect();
    record
        .read(0, &columns, |_, batch| {
            let words = Words::new(batch.num_rows(), |name| batch.column_by_name(name)).expect("words");
            judge.judge(&words, |_| false, &mut verdicts);
            Ok(())
        })
        .expect("read");
    for ((op, flags, user_data, expected), judged) in cases.iter().zip(verdicts) {
        // Which filter it is matters less than that it is one.
        let judged = if let Judged::Filter(_) = judged { Judged::Filter(0) } else { judged };
        assert_eq!(judged, *expected, "{op} {flags} {user_data}");
    }
    let report = replay(&[record], &judge, 1, &Progress::default()).expect("a report");
    assert_eq!((report.newly_refused, report.undecided, report.lost), (4, 3, 42), "{report:?}");
}

/// Nothing is said to be unchanged of which a part is missing.
#[test]
fn what_was_lost_may_have_been_anything() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.parquet");
    let preamble = Preamble { model: "guard".into(), ..Preamble::default() };
    let mut recording = Recording::create(&path, &preamble).expect("a new file");
    recording.add(Item::Lost(1)).expect("written");
    recording.finish().expect("written");
    let (judge, _) = judge(&[POLICIES[0]]);
    let record = Record::open(&path).expect("a record");
    let report = replay(&[record], &judge, 1, &Progress::default()).expect("a report");
    assert!(report.changes.is_empty() && !report.is_unchanged(), "{report:?}");
}

#[test]
fn what_learn_gets_is_all_that_was_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.parquet");
    let contexts = contexts(3, 3000);
    write_contexts(&path, &contexts);
    let mut expected = ringwarden::learn::Observations::new();
    contexts.iter().for_each(|context| expected.request(context.words()));
    expected.setup(8, &Default::default());
    let (judge, enforcement) = judge(&[POLICIES[3]]);
    let mut outcome = Outcome::default();
    outcome.add(&Record::open(&path).expect("a record"), Some(&judge)).expect("read");
    assert_eq!(outcome.observations, expected);
    let refused = contexts.iter().filter(|context| enforcement.filters().verdict(context) != Verdict::Allow);
    let refused = refused.map(|context| context.opcode().to_string()).collect();
    assert_eq!(outcome.lacking, refused);
}

#[test]
fn a_record_takes_no_other_file_s_place_and_a_dropped_one_leaves_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.parquet");
    let preamble = Preamble { model: "guard".into(), ..Preamble::default() };
    drop(Recording::create(&path, &preamble).expect("a new file"));
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
    let late = Recording::create(&path, &preamble).expect("a new file");
    std::fs::write(&path, "mine").expect("written");
    let error = Recording::create(&path, &preamble).expect_err("it is there").to_string();
    assert!(error.ends_with("a.parquet: it is there already"), "{error}");
    late.finish().expect_err("it has come meanwhile");
    assert_eq!(std::fs::read(&path).expect("read"), b"mine");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
}
