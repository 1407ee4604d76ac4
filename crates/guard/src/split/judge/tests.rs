use super::*;
use proptest::prelude::*;
use ringwarden_cbpf::Insn;
use ringwarden_cbpf::insn::*;
use ringwarden_filter::{CallRules, FilterSet, KernelModel, Limits, Registration};
use ringwarden_uapi::open;
use ringwarden_uapi::restriction::Restriction;
use ringwarden_uapi::ring::SqeFlags;
use std::cell::Cell;

pub(crate) const MODEL: KernelModel = KernelModel::V7_3;
/// Operations that the kernel of the tests has.
const KNOWN: u8 = 65;
/// None of any kernel's.
const NO_OPCODE: u8 = 255;

/// What a filter allows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Allows {
    All,
    Nothing,
    /// Where two words of the context are the same: so a request is not to be mixed with another.
    Same(u32, u32),
}

impl Allows {
    fn insns(self) -> Vec<Insn> {
        match self {
            Self::All => vec![Insn::stmt(BPF_RET | BPF_K, 1)],
            Self::Nothing => vec![Insn::stmt(BPF_RET | BPF_K, 0)],
            Self::Same(one, other) => vec![
                Insn::stmt(BPF_LD | BPF_W | BPF_ABS, 4 * one),
                Insn::stmt(BPF_MISC | BPF_TAX, 0),
                Insn::stmt(BPF_LD | BPF_W | BPF_ABS, 4 * other),
                Insn::jump(BPF_JMP | BPF_JEQ | BPF_X, 0, 0, 1),
                Insn::stmt(BPF_RET | BPF_K, 1),
                Insn::stmt(BPF_RET | BPF_K, 0),
            ],
        }
    }
}

pub(crate) fn filters(rules: &[(Opcode, Allows)]) -> FilterSet {
    filters_of(MODEL, rules)
}

fn filters_of(model: KernelModel, rules: &[(Opcode, Allows)]) -> FilterSet {
    let mut set = FilterSet::new(model);
    for &(opcode, allows) in rules {
        set.register(Registration::new(opcode, &allows.insns())).expect("a filter");
    }
    set
}

pub(crate) fn rules(filters: FilterSet, permissive: bool) -> Rules {
    Rules::new(filters, CallRules::default(), permissive, KNOWN)
}

pub(crate) fn judge(rules: &Rules) -> Judge<'_> {
    Judge {
        rules,
        setup: SetupFlags::empty(),
        restrictions: Restrictions::default(),
        filters: None,
        arguments: Some(64),
        observed: false,
    }
}

/// Whether the kernel carries out what was published for `slot` of that judge's ring: no filter may refuse it then.
///
/// # Panics
/// When it would read an argument that the program can change.
pub(crate) fn is_carried_out(judge: &Judge<'_>, words: &SqeWords, argument: &Argument, slot: u32) -> bool {
    let sqe = slots::sqe(words);
    let opcode = Opcode(sqe.opcode);
    if sqe.opcode == judge.rules.sacrifice() || !judge.rules.knows(opcode) {
        return false;
    }
    let (pointer, len) = match opcode {
        Opcode::OPENAT2 => (sqe.off, sqe.len),
        Opcode::CONNECT | Opcode::BIND => (sqe.addr, sqe.off as u32),
        _ => return true,
    };
    let own = judge.filters.as_deref();
    let reads = !judge.rules.permissive && judge.rules.filters.reads_payload(opcode)
        || own.is_some_and(|own| own.reads_payload(opcode));
    if !reads || pointer == UNREADABLE {
        return !reads;
    }
    let first = judge.arguments.expect("nothing can be kept");
    assert_eq!(pointer, Arena::address_of(first + slot), "{sqe:?}");
    // The kernel knows no more of an `open_how` than this, and what it does not know has to be zero.
    let too_long = len as usize == SLOT && argument[SLOT - 1] != 0;
    !(opcode == Opcode::OPENAT2 && too_long)
}

/// Whether those filters allow what was published.
pub(crate) fn is_allowed(filters: &FilterSet, words: &SqeWords, argument: &Argument) -> bool {
    let sqe = slots::sqe(words);
    let payload = match Opcode(sqe.opcode) {
        Opcode::OPENAT2 => Payload::OpenHow(&argument[..(sqe.len as usize).min(SLOT)]),
        Opcode::CONNECT | Opcode::BIND => Payload::Sockaddr(&argument[..(sqe.off as u32 as usize).min(SLOT)]),
        _ => Payload::None,
    };
    let opcode = Opcode(sqe.opcode);
    let model = filters.model();
    let context = match Context::new(model, &sqe, payload) {
        Ok(context) => context,
        // Of this its filters see nothing.
        Err(_) if !filters.reads_payload(opcode) => Context::header(model, &sqe),
        Err(_) => return false,
    };
    filters.verdict(&context) == Verdict::Allow
}

const OPCODES: [Opcode; 11] = [
    Opcode::NOP,
    Opcode::READ,
    Opcode::TEE,
    Opcode::OPENAT,
    Opcode::SOCKET,
    Opcode::OPENAT2,
    Opcode::CONNECT,
    Opcode::BIND,
    Opcode::URING_CMD,
    Opcode::RECV_ZC,
    Opcode(KNOWN),
];

fn some_filters(model: KernelModel) -> impl Strategy<Value = FilterSet> {
    // Words that a payload decides, or the SQE, and others.
    let words = model.facts().context_size as u32 / 4;
    let same = (0..3u32, 4..words).prop_map(|(one, other)| Allows::Same(one, other));
    let allows = prop_oneof![Just(Allows::All), Just(Allows::Nothing), same.clone(), same];
    let opcode = prop::sample::select(&OPCODES[..10]);
    prop::collection::vec((opcode, allows), 0..8).prop_map(move |rules| filters_of(model, &rules))
}

/// Mostly few different words, so that filters see the same ones.
fn some_words() -> impl Strategy<Value = SqeWords> {
    let word = prop_oneof![4 => 0..3u64, 1 => any::<u64>()];
    let len = prop_oneof![Just(24), Just(16), 0..200u32];
    (prop::array::uniform16(word), prop::sample::select(&OPCODES[..]), any::<u8>(), len).prop_map(
        |(mut words, opcode, flags, len)| {
            let mut sqe = slots::sqe(&words);
            sqe.opcode = opcode.0;
            sqe.flags = flags & SqeFlags::all().bits();
            match opcode {
                Opcode::OPENAT2 => sqe.len = len,
                Opcode::CONNECT | Opcode::BIND => sqe.off = len.into(),
                _ => {}
            }
            slots::set_sqe(&mut words, sqe);
            words
        },
    )
}

/// What `read` gives: bytes that may agree with the SQE, or an error.
fn some_memory() -> impl Strategy<Value = Result<[u8; SLOT], Errno>> {
    let word = prop_oneof![6 => 0..3u64, 1 => any::<u64>()];
    let bytes = prop::array::uniform16(word).prop_map(|words| -> [u8; SLOT] { zerocopy::transmute!(words) });
    let zeros_behind = bytes.clone().prop_map(|mut bytes| {
        bytes[24..].fill(0);
        bytes
    });
    prop_oneof![3 => zeros_behind.prop_map(Ok), 2 => bytes.prop_map(Ok), 1 => Just(Err(Errno::FAULT))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Whatever is asked for, and whatever memory says: what the kernel carries out is what was asked for, and
    /// every filter allows it, with the argument that the kernel will read.
    #[test]
    fn what_is_carried_out_is_allowed_and_what_is_allowed_is_carried_out(
        policy in prop_oneof![some_filters(MODEL), some_filters(KernelModel::Guard)],
        own in prop::option::of(some_filters(MODEL)),
        (permissive, observed) in any::<(bool, bool)>(),
        asked in some_words(),
        memory in some_memory(),
        arguments in prop::option::of(Just(64u32)),
        slot in 0..16u32,
    ) {
        let rules = rules(policy, permissive);
        let limits = own.map(Limits::with_filters);
        let judge = Judge {
            arguments,
            observed,
            filters: limits.as_ref().and_then(Limits::filters),
            ..judge(&rules)
        };
        let judged = judge.judge(asked, slot, |_, buffer| {
            buffer.copy_from_slice(&memory?[..buffer.len()]);
            Ok(())
        });
        let Judged { words, argument, note } = judged.expect("it lives");
        let (written, published) = (slots::sqe(&asked), slots::sqe(&words));
        let opcode = Opcode(written.opcode);
        prop_assert_eq!(words[8..].to_vec(), asked[8..].to_vec(), "no business of anybody's");
        prop_assert_eq!(published.user_data, written.user_data);
        let kept = (SqeFlags::IO_LINK | SqeFlags::IO_HARDLINK | SqeFlags::IO_DRAIN | SqeFlags::CQE_SKIP_SUCCESS).bits();
        prop_assert_eq!(published.flags & kept, written.flags & kept);
        if judge.passes(written.opcode) {
            prop_assert_eq!(words, asked);
            prop_assert!(note.is_none());
        }
        if rules.of(written.opcode) == Rule::PassAsUnknown {
            prop_assert_eq!(published.opcode, NO_OPCODE);
        }
        let held = argument.unwrap_or([0; SLOT]);
        let own = judge.filters.as_deref();
        if is_carried_out(&judge, &words, &held, slot) {
            prop_assert_eq!(published.opcode, written.opcode);
            prop_assert!(permissive || is_allowed(&rules.filters, &words, &held), "{:?}", published);
            prop_assert!(own.is_none_or(|own| is_allowed(own, &words, &held)), "{:?}", published);
        }
        if matches!(opcode, Opcode::OPENAT2 | Opcode::CONNECT | Opcode::BIND) {
            return Ok(());
        }
        prop_assert!(argument.is_none());
        let sees = rules.knows(opcode) && opcode.0 != rules.sacrifice();
        let allowed = is_allowed(&rules.filters, &asked, &held);
        let own_allows = own.is_none_or(|own| is_allowed(own, &asked, &held));
        // What is malformed fails in any case.
        let passes = allowed || permissive && !prep::is_malformed(&written, judge.setup);
        if sees && passes && own_allows {
            let known = Sqe { op_flags: published.op_flags, ..written };
            let expected = if opcode == Opcode::OPENAT { known } else { written };
            prop_assert_eq!(published, expected);
        }
        match note {
            Some(Note::Refused(Refused::Request { sqe, .. })) => prop_assert!(!allowed && sqe == written),
            Some(Note::Refused(other)) => prop_assert!(false, "{:?}", other),
            Some(Note::Allowed(sqe, _)) => prop_assert!(observed && allowed && own_allows && sqe == written),
            // Who refuses what is malformed need not tell.
            None => prop_assert!(allowed || !sees || prep::is_malformed(&written, judge.setup)),
        }
    }
}

/// Of what is refused whatever it asks for, whoever is told of it hears what it asked for; nothing of what cannot be
/// read.
#[test]
fn what_is_refused_outright_is_told_of_with_its_argument() {
    let mut filters = FilterSet::new(MODEL);
    let deny = [Insn::stmt(BPF_RET | BPF_K, 0)];
    filters.register(Registration::new(Opcode::CONNECT, &deny)).expect("a filter");
    let rules = rules(filters, false);
    let told = |readable: bool, len: u64| {
        let mut words = SqeWords::default();
        slots::set_sqe(
            &mut words,
            Sqe { opcode: Opcode::CONNECT.0, addr: 0x1000, off: len, ..Sqe::default() },
        );
        let read = |_, buffer: &mut [u8]| {
            buffer[..4].copy_from_slice(&[2, 0, 1, 187]);
            if readable { Ok(()) } else { Err(Errno::FAULT) }
        };
        let judged = judge(&rules).judge(words, 3, read).expect("it lives");
        assert_eq!(slots::sqe(&judged.words).opcode, rules.sacrifice());
        assert!(judged.argument.is_none());
        match judged.note {
            Some(Note::Refused(Refused::Request { context, .. })) => {
                (context.is_complete(), context.words()[4])
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(told(true, 16), (true, 2));
    assert_eq!(told(false, 16), (false, 0));
}

/// Whatever the rules see of a BIND, a program's own filters see what a kernel shows them: nothing of its address if it
/// does not, and a context of 40 bytes.
#[test]
fn filters_of_the_program_see_no_more_than_a_kernel_shows() {
    let family = vec![
        Insn::stmt(BPF_LD | BPF_W | BPF_ABS, 16),
        Insn::jump(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 1),
        Insn::stmt(BPF_RET | BPF_K, 1),
        Insn::stmt(BPF_RET | BPF_K, 0),
    ];
    let kernel = KernelModel::Guard.kernel();
    let shown = if kernel.payload_size(Opcode::BIND) == 0 { 0 } else { 2 };
    let no_more = vec![
        Insn::stmt(BPF_LD | BPF_W | BPF_ABS, 16),
        Insn::jump(BPF_JMP | BPF_JEQ | BPF_K, shown, 0, 3),
        Insn::stmt(BPF_LD | BPF_W | BPF_LEN, 0),
        Insn::jump(BPF_JMP | BPF_JEQ | BPF_K, 40, 0, 1),
        Insn::stmt(BPF_RET | BPF_K, 1),
        Insn::stmt(BPF_RET | BPF_K, 0),
    ];
    let set = |model, insns: &[Insn]| {
        let mut set = FilterSet::new(model);
        set.register(Registration::new(Opcode::BIND, insns)).map(|()| set)
    };
    let rules = rules(set(KernelModel::Guard, &family).expect("a filter"), false);
    let limits = Limits::with_filters(set(kernel, &no_more).expect("a filter"));
    let judge = Judge { filters: limits.filters(), ..judge(&rules) };
    let published = |family: u8| {
        let mut words = SqeWords::default();
        slots::set_sqe(&mut words, Sqe { opcode: Opcode::BIND.0, addr: 0x1000, off: 16, ..Sqe::default() });
        let read = |_, buffer: &mut [u8]| {
            buffer[0] = family;
            Ok(())
        };
        slots::sqe(&judge.judge(words, 3, read).expect("it lives").words)
    };
    assert_eq!(published(2).addr, Arena::address_of(67), "the kernel reads what was judged");
    assert_eq!(published(1).opcode, rules.sacrifice());
    let beyond = [Insn::stmt(BPF_LD | BPF_W | BPF_ABS, 40), Insn::stmt(BPF_RET | BPF_A, 0)];
    assert!(set(kernel, &beyond).is_err() && set(KernelModel::Guard, &beyond).is_ok());
}

/// The argument of an OPENAT2.
pub(crate) fn open_how(resolve: u64) -> [u8; SLOT] {
    let mut bytes = [0; SLOT];
    bytes[16..24].copy_from_slice(&resolve.to_ne_bytes());
    bytes
}

fn openat2(user_data: u64, len: u32) -> SqeWords {
    let mut words = SqeWords::default();
    let sqe = Sqe { opcode: Opcode::OPENAT2.0, off: 0x1000, len, user_data, ..Sqe::default() };
    slots::set_sqe(&mut words, sqe);
    words
}

/// Opens where `resolve` is the number of the request.
fn numbered() -> Rules {
    rules(filters(&[(Opcode::OPENAT2, Allows::Same(0, 8))]), false)
}

#[test]
fn an_argument_is_read_once_and_the_kernel_is_pointed_at_the_copy() {
    let rules = numbered();
    let judge = judge(&rules);
    let looks = Cell::new(0);
    let read = |address, buffer: &mut [u8]| {
        looks.set(looks.get() + 1);
        assert_eq!((address, buffer.len()), (0x1000, 24));
        buffer.copy_from_slice(&open_how(7)[..24]);
        Ok(())
    };
    let Judged { words, argument, note } = judge.judge(openat2(7, 24), 3, read).expect("it lives");
    let sqe = slots::sqe(&words);
    assert_eq!((sqe.opcode, sqe.off, sqe.len), (Opcode::OPENAT2.0, Arena::address_of(67), 24));
    assert_eq!(argument, Some(open_how(7)));
    assert!(note.is_none() && looks.get() == 1);
    let refused = judge.judge(openat2(8, 24), 3, read).expect("it lives");
    assert_eq!(slots::sqe(&refused.words).opcode, rules.sacrifice());
    assert!(refused.argument.is_none());
    assert!(matches!(refused.note, Some(Note::Refused(Refused::Request { .. }))));
}

#[test]
fn what_cannot_be_read_or_kept_fails() {
    let rules = numbered();
    let whole = judge(&rules);
    let unread = whole.judge(openat2(7, 24), 3, |_, _| Err(Errno::FAULT)).expect("it lives");
    assert_eq!(slots::sqe(&unread.words).off, UNREADABLE);
    let gone = whole.judge(openat2(7, 24), 3, |_, _| Err(Errno::SRCH));
    assert_eq!(gone.map(|_| ()), Err(Errno::SRCH));
    let read = |_, buffer: &mut [u8]| {
        let how = open_how(7);
        buffer.copy_from_slice(&how[..buffer.len()]);
        Ok(())
    };
    let short = whole.judge(openat2(7, 16), 3, read).expect("it lives");
    assert_eq!(slots::sqe(&short.words).opcode, NO_OPCODE, "shorter than any `open_how`");
    // E2BIG, whatever is behind what was read.
    let long = whole.judge(openat2(7, 4096), 3, read).expect("it lives");
    let (sqe, argument) = (slots::sqe(&long.words), long.argument.expect("a copy"));
    assert_eq!((sqe.off, sqe.len, argument[SLOT - 1]), (Arena::address_of(67), SLOT as u32, 1));
    let nowhere = Judge { arguments: None, ..judge(&rules) };
    let refused = nowhere.judge(openat2(7, 24), 3, read).expect("it lives");
    assert_eq!(slots::sqe(&refused.words).opcode, rules.sacrifice());
    assert!(matches!(refused.note, Some(Note::Refused(Refused::Unverifiable))));
}

/// Where the rules only tell, the kernel reads arguments where the program has them: so whatever was read must not
/// decide whether its own filters are asked.
#[test]
fn what_the_program_denies_itself_is_refused_whatever_is_read() {
    let rules = rules(filters(&[(Opcode::OPENAT2, Allows::Same(0, 8))]), true);
    let limits = Limits::with_filters(filters(&[(Opcode::OPENAT2, Allows::Nothing)]));
    let judge = Judge { filters: limits.filters(), ..judge(&rules) };
    let opcode = |len, memory: Result<u8, Errno>| {
        let read = |_, buffer: &mut [u8]| memory.map(|byte| buffer.fill(byte));
        let judged = judge.judge(openat2(0, len), 3, read).expect("it lives");
        slots::sqe(&judged.words).opcode
    };
    for (len, memory) in [(24, Ok(0)), (24, Ok(1)), (24, Err(Errno::FAULT)), (16, Ok(0)), (32, Ok(1))] {
        assert_eq!(opcode(len, memory), rules.sacrifice(), "{len} bytes of {memory:?}");
    }
}

#[test]
fn restrictions_of_the_program_hold_for_what_the_rules_pass() {
    let rules = rules(filters(&[]), false);
    // IORING_RESTRICTION_SQE_OP of READ alone.
    const SQE_OP: u16 = 1;
    let entry = Restriction { kind: SQE_OP, value: Opcode::READ.0, resv: 0, resv2: [0; 3] };
    let restrictions = Restrictions::parse(MODEL, &[entry]).expect("restrictions");
    let judge = Judge { restrictions, ..judge(&rules) };
    let opcode = |opcode: Opcode| {
        let mut words = SqeWords::default();
        slots::set_sqe(&mut words, Sqe { opcode: opcode.0, user_data: 7, ..Sqe::default() });
        let judged = judge.judge(words, 0, |_, _| Err(Errno::FAULT)).expect("it lives");
        assert!(judged.note.is_none(), "nobody's business but the program's");
        slots::sqe(&judged.words).opcode
    };
    assert!(!judge.passes(Opcode::READ.0) && !judge.passes(Opcode::NOP.0));
    assert_eq!(opcode(Opcode::READ), Opcode::READ.0);
    assert_eq!(opcode(Opcode::NOP), rules.sacrifice());
    assert_eq!(opcode(Opcode(KNOWN)), KNOWN, "the kernel's to refuse");
}

/// What the kernel copies whole is kept whole; of what it takes at any length, there has to be room for a byte that it
/// does not know.
#[test]
fn a_slot_has_room_for_every_argument() {
    for place in ringwarden_uapi::OPCODES.iter().filter_map(|info| info.opcode.argument()) {
        assert!(place.takes(SLOT), "{place:?}");
        assert!(!place.takes(SLOT + 1) || place.is_extensible() && place.takes(SLOT - 1), "{place:?}");
    }
}

#[test]
fn a_flag_that_no_filter_sees_is_not_passed_on() {
    let rules = rules(filters(&[(Opcode::OPENAT, Allows::Same(0, 1))]), false);
    let published = |sqe: &Sqe| {
        let mut words = SqeWords::default();
        slots::set_sqe(&mut words, *sqe);
        let judged = judge(&rules).judge(words, 0, |_, _| Err(Errno::FAULT)).expect("it lives");
        slots::sqe(&judged.words)
    };
    let flags = |flags: u64| {
        let sqe = Sqe { opcode: Opcode::OPENAT.0, op_flags: flags as u32, ..Sqe::default() };
        u64::from(published(&sqe).op_flags)
    };
    assert_eq!(flags(open::O_CREAT | open::O_TRUNC | 2), open::O_CREAT | open::O_TRUNC | 2);
    assert_eq!(flags(open::O_CREAT | 1 << 27 | 1 << 31), open::O_CREAT);
    assert_eq!(flags(open::O_PATH | open::O_CREAT | open::O_CLOEXEC), open::O_PATH | open::O_CLOEXEC);
    // What filters see is the same.
    for bit in 0..32 {
        for base in [0, open::O_PATH, open::O_CREAT] {
            let sqe = Sqe { opcode: Opcode::OPENAT.0, op_flags: (base | 1 << bit) as u32, ..Sqe::default() };
            let after = published(&sqe);
            let words = |sqe: &Sqe| Context::header(MODEL, sqe).words().to_vec();
            assert_eq!(words(&sqe), words(&after), "{:#x}", sqe.op_flags);
        }
    }
}
