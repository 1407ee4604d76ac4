//! What holds for every set of filters, every registration and every request.

use proptest::prelude::*;
use ringwarden_cbpf::{Insn, insn::*};
use ringwarden_filter::register::register;
use ringwarden_filter::{
    Context, DeniedBy, Errno, Example, FilterSet, KernelModel, Limits, Machine, Next, NotRunning, Payload,
    Registration, RequestId, Requests, Rules, UserMemory, Verdict,
};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::bpf::{BpfFilter, FilterFlags};
use ringwarden_uapi::ring::{Cqe, SetupFlags, Sqe, SqeFlags};
use zerocopy::FromBytes;

/// Few opcodes, so that filters meet: two without payload, all with one, and one that is unknown.
const OPCODES: [Opcode; 7] =
    [Opcode::NOP, Opcode::READ, Opcode::SOCKET, Opcode::OPENAT, Opcode::OPENAT2, Opcode::CONNECT, Opcode(65)];

/// A program that a naive reader can evaluate.
#[derive(Clone, Copy, Debug)]
enum Rule {
    Always(u32),
    /// Allows where a bit of a word is set.
    Bit {
        word: u32,
        bit: u32,
    },
}

impl Rule {
    fn insns(self) -> Vec<Insn> {
        match self {
            Self::Always(value) => vec![Insn::stmt(BPF_RET | BPF_K, value)],
            Self::Bit { word, bit } => vec![
                Insn::stmt(BPF_LD | BPF_W | BPF_ABS, 4 * word),
                Insn::stmt(BPF_ALU | BPF_AND | BPF_K, 1 << bit),
                Insn::stmt(BPF_RET | BPF_A, 0),
            ],
        }
    }

    fn allows(self, words: &[u32]) -> bool {
        match self {
            Self::Always(value) => value != 0,
            Self::Bit { word, bit } => words[word as usize] & 1 << bit != 0,
        }
    }
}

prop_compose! {
    fn rule()(always in any::<Option<bool>>(), word in 0..10u32, bit in 0..32u32) -> Rule {
        always.map_or(Rule::Bit { word, bit }, |allow| Rule::Always(allow.into()))
    }
}

/// Instructions as bytes, a good program or anything.
fn instructions() -> impl Strategy<Value = Vec<[u8; 8]>> {
    let good = rule().prop_map(|rule| rule.insns().into_iter().map(Insn::to_ne_bytes).collect());
    prop_oneof![good, prop::collection::vec(any::<[u8; 8]>(), 0..20)]
}

/// Opcode, rule and whether with DENY_REST; tags count up from 0.
type Registered = (Opcode, Rule, bool);

fn registrations() -> impl Strategy<Value = Vec<Registered>> {
    let opcode = prop::sample::select(&OPCODES[..6]);
    prop::collection::vec((opcode, rule(), prop::bool::weighted(0.1)), 0..12)
}

fn registration(&(opcode, rule, rest): &Registered, tag: usize) -> Registration {
    let flags = if rest { FilterFlags::DENY_REST } else { FilterFlags::empty() };
    Registration { flags, tag: tag as u32, ..Registration::new(opcode, &rule.insns()) }
}

fn set(model: KernelModel, registered: &[Registered]) -> FilterSet {
    let mut set = FilterSet::new(model);
    for (tag, one) in registered.iter().enumerate() {
        set.register(registration(one, tag)).unwrap();
    }
    set
}

fn model() -> impl Strategy<Value = KernelModel> {
    prop::sample::select(&KernelModel::ALL[..])
}

fn sqe() -> impl Strategy<Value = Sqe> {
    (any::<[u8; 64]>(), prop::sample::select(&OPCODES[..]))
        .prop_map(|(bytes, opcode)| Sqe { opcode: opcode.0, ..Sqe::read_from_bytes(&bytes).unwrap() })
}

/// A payload of the kind the opcode wants, well formed or not.
fn payload<'a>(sqe: &Sqe, bytes: &'a [u8]) -> Payload<'a> {
    match Opcode(sqe.opcode) {
        Opcode::OPENAT2 => Payload::OpenHow(bytes),
        Opcode::CONNECT => Payload::Sockaddr(bytes),
        _ => Payload::None,
    }
}

/// The rules of `io_uring/bpf_filter.c` in a loop over everything ever registered.
fn naive_verdict(registered: &[Registered], context: &Context) -> Option<DeniedBy> {
    let opcode = context.opcode();
    if opcode == Opcode(65) {
        return Some(DeniedBy::UnknownOpcode);
    }
    for (tag, (_, rule, _)) in registered.iter().enumerate().rev().filter(|(_, (op, ..))| *op == opcode) {
        if !rule.allows(context.words()) {
            return Some(DeniedBy::Filter { tag: tag as u32 });
        }
    }
    let first = registered.iter().position(|(op, ..)| *op == opcode).unwrap_or(registered.len());
    registered[..first].iter().any(|(.., rest)| *rest).then_some(DeniedBy::Rest)
}

fn denied_by(verdict: Verdict) -> Option<DeniedBy> {
    match verdict {
        Verdict::Allow => None,
        Verdict::Deny(denial) => Some(denial.by),
    }
}

/// Any operation's, and mostly one with an argument in memory.
fn any_sqe() -> impl Strategy<Value = Sqe> {
    let opcodes = prop_oneof![
        any::<u8>(),
        0..Opcode::LAST,
        prop::sample::select(&[Opcode::BIND.0, Opcode::CONNECT.0, Opcode::OPENAT2.0, Opcode::SOCKET.0][..]),
    ];
    (any::<[u8; 64]>(), opcodes)
        .prop_map(|(bytes, opcode)| Sqe { opcode, ..Sqe::read_from_bytes(&bytes).unwrap() })
}

proptest! {
    /// A verdict on an SQE is the one on what its header shows, whatever programs load of it and whatever runs them.
    #[test]
    fn a_verdict_needs_no_more_than_what_is_loaded(
        model in prop::sample::select(&KernelModel::WITH_GUARD[..]),
        machine in prop::sample::select(&Machine::ALL[..]),
        bits in prop::collection::vec((any::<prop::sample::Index>(), 0..32u32, any::<bool>()), 0..6),
        compiled in 0..6usize,
        always in any::<Option<bool>>(),
        sqe in any_sqe(),
    ) {
        let words = model.facts().context_size / 4;
        let opcode = Opcode(sqe.opcode);
        let (mut set, mut later) = (FilterSet::new(model).with_machine(machine), FilterSet::new(model));
        // One of which the machine changes while it has so many filters.
        let mut between = FilterSet::new(model);
        let bits = bits.into_iter().map(|(word, bit, inverse)| {
            let load = Insn::stmt(BPF_LD | BPF_W | BPF_ABS, 4 * word.index(words) as u32);
            let jump = Insn::jump(BPF_JMP | BPF_JSET | BPF_K, 1 << bit, inverse.into(), (!inverse).into());
            vec![load, jump, Insn::stmt(BPF_RET | BPF_K, 1), Insn::stmt(BPF_RET | BPF_K, 0)]
        });
        let always = always.map(|allow| Rule::Always(allow.into()).insns());
        for (tag, insns) in bits.chain(always).enumerate().filter(|_| model.has_opcode(opcode)) {
            if tag == compiled {
                between = between.with_machine(machine);
            }
            for set in [&mut set, &mut later, &mut between] {
                set.register(Registration { tag: tag as u32, ..Registration::new(opcode, &insns) }).unwrap();
            }
        }
        let verdict = later.verdict(&Context::header(model, &sqe));
        for set in [&set, &later, &later.clone().with_machine(machine), &between] {
            prop_assert_eq!(set.verdict_on(&sqe), verdict);
            prop_assert_eq!(set.verdict(&Context::header(model, &sqe)), verdict);
            let are_on = |machine| set.filters(opcode).all(|filter| filter.program.machine() == machine);
            prop_assert!(are_on(machine) || are_on(Machine::Decoded));
        }
        prop_assert!(set.filters(opcode).all(|filter| filter.program.machine() == machine));
    }

    /// Filters that programs have of their own see what the kernel shows them, though the guard sees more.
    #[test]
    fn what_the_guard_shows_holds_what_its_kernel_shows(
        sqe in any_sqe(), mut bytes in prop::collection::vec(any::<u8>(), 0..140), family in 0..12u8,
    ) {
        if let [first, second, ..] = &mut bytes[..] {
            (*first, *second) = (family, 0);
        }
        let payload = match Opcode(sqe.opcode) {
            Opcode::OPENAT2 => Payload::OpenHow(&bytes),
            Opcode::CONNECT | Opcode::BIND => Payload::Sockaddr(&bytes),
            _ => Payload::None,
        };
        let kernel = KernelModel::Guard.kernel();
        prop_assert_eq!(
            Context::header(KernelModel::Guard, &sqe).as_kernels_show(),
            Context::header(kernel, &sqe)
        );
        let shown = Context::new(KernelModel::Guard, &sqe, payload);
        // Kernels have no opinion on the address of a BIND before its filters.
        if Opcode(sqe.opcode) != Opcode::BIND || shown.is_ok() {
            let as_shown = shown.map(Context::as_kernels_show);
            prop_assert_eq!(as_shown, Context::new(kernel, &sqe, payload));
        }
        let untouched = Context::header(kernel, &sqe);
        prop_assert_eq!(untouched.as_kernels_show(), untouched);
    }
}

proptest! {
    /// Whatever kind of payload there is.
    #[test]
    fn a_context_leads_back_to_a_request_that_shows_it(
        model in prop::sample::select(&KernelModel::WITH_GUARD[..]),
        sqe in any_sqe(),
        mut bytes in prop::collection::vec(any::<u8>(), 0..140),
        family in 0..12u8,
    ) {
        if let [first, second, ..] = &mut bytes[..] {
            (*first, *second) = (family, 0);
        }
        bytes.truncate(if Opcode(sqe.opcode) == Opcode::OPENAT2 { 24 } else { 128 });
        let Ok(context) = Context::new(model, &sqe, Payload::of(Opcode(sqe.opcode), &bytes)) else {
            return Ok(());
        };
        let example = Example::showing(context.words()).expect("enough words");
        prop_assert_eq!(example.context(model), Ok(context));
        let place = Opcode(sqe.opcode).argument();
        prop_assert!(place.is_none_or(|place| place.takes(place.len(example.sqe()))));
    }
}

proptest! {
    #[test]
    fn a_verdict_is_what_every_filter_in_turn_makes_it(
        model in model(), registered in registrations(), sqe in sqe(), bytes in prop::collection::vec(any::<u8>(), 24..40),
    ) {
        if let Ok(context) = Context::new(model, &sqe, payload(&sqe, &bytes)) {
            let verdict = set(model, &registered).verdict(&context);
            prop_assert_eq!(denied_by(verdict), naive_verdict(&registered, &context));
        }
    }

    #[test]
    fn a_set_only_ever_gets_tighter(model in model(), registered in registrations(), sqe in sqe()) {
        let context = Context::header(model, &sqe);
        let mut so_far = FilterSet::new(model);
        let mut denied = denied_by(so_far.verdict(&context)).is_some();
        for (tag, one) in registered.iter().enumerate() {
            so_far.register(registration(one, tag)).unwrap();
            let now = denied_by(so_far.verdict(&context)).is_some();
            prop_assert!(now || !denied);
            denied = now;
        }
    }

    #[test]
    fn what_is_known_outright_holds_for_every_request(
        model in model(), registered in registrations(), sqe in sqe(), bytes in prop::collection::vec(any::<u8>(), 24..40),
    ) {
        let set = set(model, &registered);
        if let (Some(allowed), Ok(context)) = (
            set.outright(Opcode(sqe.opcode)),
            Context::new(model, &sqe, payload(&sqe, &bytes)),
        ) {
            prop_assert_eq!(denied_by(set.verdict(&context)).is_none(), allowed);
        }
    }

    #[test]
    fn a_header_suffices_where_no_payload_is_read(
        model in model(), registered in registrations(), sqe in sqe(), bytes in prop::collection::vec(any::<u8>(), 24..40),
    ) {
        let set = set(model, &registered);
        let header = set.verdict(&Context::header(model, &sqe));
        if set.reads_payload(Opcode(sqe.opcode)) {
            // Never open by mistake: what is not known is denied.
            prop_assert!(denied_by(header).is_some());
        } else if let Ok(context) = Context::new(model, &sqe, payload(&sqe, &bytes)) {
            prop_assert_eq!(header, set.verdict(&context));
        }
    }

    #[test]
    fn a_copy_is_out_of_reach(model in model(), before in registrations(), after in registrations(), sqe in sqe()) {
        let mut one = set(model, &before);
        let other = one.clone();
        for (tag, later) in after.iter().enumerate() {
            one.register(registration(later, 100 + tag)).unwrap();
        }
        let context = Context::header(model, &sqe);
        prop_assert_eq!(other.verdict(&context), set(model, &before).verdict(&context));
    }

    /// From 7.3 on every task and ring is alone with what it inherited and what it added; before, what
    /// one adds never goes up.
    #[test]
    fn inheritance(
        model in model(),
        acts in prop::collection::vec((any::<prop::sample::Index>(), registrations(), any::<bool>()), 1..8),
        sqe in sqe(),
    ) {
        let mut family = vec![(Limits::new(model), Vec::<Registered>::new())];
        for (who, registered, has_child) in acts {
            let who = who.index(family.len());
            let (limits, own) = &mut family[who];
            for (tag, one) in registered.iter().enumerate() {
                limits.update(|set| set.register(registration(one, own.len() + tag))).unwrap();
            }
            own.extend(registered);
            if has_child {
                let child = (limits.inherit(), own.clone());
                family.push(child);
            }
        }
        let context = Context::header(model, &sqe);
        for (limits, own) in &family {
            let verdict = |set: &FilterSet| denied_by(set.verdict(&context));
            let actual = limits.filters().and_then(|set| verdict(&set));
            let alone = (!own.is_empty()).then(|| verdict(&set(model, own))).flatten();
            if model.facts().later_filters_leak {
                // But a filter that has come from above keeps DENY_REST from its operation (tasks.toml).
                let tight = alone.filter(|by| *by != DeniedBy::Rest);
                prop_assert!(actual.is_some() || tight.is_none(), "{:?} is looser than {:?}", actual, alone);
            } else {
                prop_assert_eq!(actual, alone);
            }
        }
        if model.facts().later_filters_leak {
            let (first, own) = &family[0];
            let alone = (!own.is_empty()).then(|| denied_by(set(model, own).verdict(&context))).flatten();
            prop_assert_eq!(first.filters().and_then(|set| denied_by(set.verdict(&context))), alone);
        }
    }

    #[test]
    fn contexts_are_made_of_anything(
        model in model(), sqe in any::<[u8; 64]>(), bytes in prop::collection::vec(any::<u8>(), 0..140), how in any::<bool>(),
    ) {
        let sqe = Sqe::read_from_bytes(&sqe).unwrap();
        let payload = if how { Payload::OpenHow(&bytes) } else { Payload::Sockaddr(&bytes) };
        let header = Context::header(model, &sqe);
        prop_assert_eq!(header.words().len() * 4, model.facts().context_size);
        prop_assert_eq!(header.opcode().0, sqe.opcode);
        prop_assert_eq!(u64::from(header.words()[0]) | u64::from(header.words()[1]) << 32, sqe.user_data);
        prop_assert_eq!(header.words()[2] >> 16, u32::from(model.payload_size(header.opcode())));
        match Context::new(model, &sqe, payload) {
            Ok(context) => {
                prop_assert_eq!(&context.words()[..2], &header.words()[..2]);
                prop_assert!(context.sqe_flags().contains(header.sqe_flags()));
                let used = 4 + usize::from(model.payload_size(header.opcode())) / 4;
                prop_assert!(context.words()[used..].iter().all(|&word| word == 0));
            }
            Err(errno) => prop_assert!([Errno::EFAULT, Errno::EINVAL, Errno::E2BIG].contains(&errno)),
        }
    }

    #[test]
    fn anything_can_be_tried_as_a_registration(
        model in model(), bytes in any::<[u8; 72]>(), sensible in 0..3u8, insns in instructions(),
    ) {
        let mut bytes = bytes;
        if sensible > 0 {
            // Random structs almost never get past the first field: make most of it right.
            let program = [0u32.to_ne_bytes(), (insns.len() as u32).to_ne_bytes()].concat();
            bytes[..8].copy_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
            let opcode = u32::from(bytes[8] % 70);
            bytes[8..12].copy_from_slice(&opcode.to_ne_bytes());
            bytes[12..20].copy_from_slice(&program);
            bytes[21..].fill(0);
            bytes[24..32].copy_from_slice(&0x2000u64.to_ne_bytes());
        }
        if sensible > 1 {
            bytes[20] = 0;
        }
        let mut memory = Flat { structs: bytes.to_vec(), program: insns.as_flattened().to_vec() };
        let mut set = FilterSet::new(model);
        let result = register(&mut set, &mut memory, 0x1000, 1, 7);
        let filter = BpfFilter::read_from_bytes(&memory.structs[8..]).unwrap();
        let installed: Vec<u32> = (0..65).flat_map(|n| set.filters(Opcode(n)).map(|filter| filter.tag)).collect();
        match result {
            Ok(()) => {
                prop_assert_eq!(installed, vec![7]);
                prop_assert_eq!(set.filters(Opcode(filter.opcode as u8)).count(), 1);
            }
            Err(errno) => {
                prop_assert!(installed.is_empty() && !set.is_rest_denied(Opcode::NOP));
                prop_assert!([Errno::EINVAL, Errno::EFAULT, Errno::EMSGSIZE].contains(&errno), "{}", errno);
            }
        }
    }

    /// Whatever is linked, drained or refused, and whenever what runs is over.
    #[test]
    fn every_request_completes_once(
        submit_all in any::<bool>(),
        submissions in prop::collection::vec(prop::collection::vec((any::<u8>(), 0..8u8), 1..12), 1..6),
        order in prop::collection::vec(any::<usize>(), 80),
    ) {
        let setup = if submit_all { SetupFlags::SUBMIT_ALL } else { SetupFlags::empty() };
        let mut set = FilterSet::new(KernelModel::V7_3);
        set.register(Registration::new(Opcode::SOCKET, &[Insn::stmt(BPF_RET | BPF_K, 0)])).unwrap();
        let mut emulated = Emulated { requests: Requests::new(KernelModel::V7_3, setup), running: vec![], cqes: vec![] };
        let (mut taken, mut silent, mut order) = (0, 0, order.into_iter());
        for submission in submissions {
            let mut this = 0;
            for (flags, kind) in submission {
                let opcode = [Opcode::NOP, Opcode::SOCKET, Opcode(255), Opcode::LINK_TIMEOUT][usize::from(kind / 2)];
                let sqe = Sqe { opcode: opcode.0, flags, user_data: taken + this, len: 1, ..Sqe::default() };
                silent += usize::from(flags & SqeFlags::CQE_SKIP_SUCCESS.bits() != 0);
                this += 1;
                let goes_on = emulated.requests.submit(&Rules::from(&set), sqe, &Zeros).goes_on;
                emulated.act(kind % 2 == 0);
                if !goes_on {
                    break;
                }
            }
            prop_assert_eq!(u64::from(emulated.requests.end()), this);
            taken += this;
            emulated.act(false);
            if let Some(number) = order.next().filter(|number| number % 2 == 0) {
                emulated.complete(number / 2);
            }
        }
        while !emulated.running.is_empty() {
            emulated.complete(order.next().unwrap_or(0));
        }
        prop_assert_eq!(emulated.requests.in_flight(), 0);
        let mut completed: Vec<u64> = emulated.cqes.iter().map(|cqe| cqe.user_data).collect();
        completed.sort_unstable();
        prop_assert!(completed.windows(2).all(|pair| pair[0] < pair[1]));
        if silent == 0 {
            prop_assert_eq!(completed, (0..taken).collect::<Vec<_>>());
        }
    }
}

/// A ring whose requests may take time.
struct Emulated {
    requests: Requests,
    running: Vec<RequestId>,
    cqes: Vec<Cqe>,
}

impl Emulated {
    fn act(&mut self, at_once: bool) {
        while let Some(next) = self.requests.next() {
            match next {
                Next::Post(cqe) => self.cqes.push(cqe),
                Next::Start(started) if at_once => self.requests.complete(started.id, 0).unwrap(),
                Next::Start(started) => self.running.push(started.id),
            }
        }
    }

    /// One of those that run is over, and over only once.
    fn complete(&mut self, number: usize) {
        if !self.running.is_empty() {
            let id = self.running.swap_remove(number % self.running.len());
            self.requests.complete(id, -1).unwrap();
            assert_eq!(self.requests.complete(id, -1), Err(NotRunning(id)));
            self.act(false);
        }
    }
}

/// Memory that is zeros everywhere.
struct Zeros;

impl UserMemory for Zeros {
    fn read(&self, _: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        bytes.fill(0);
        Ok(())
    }
}

/// A struct at 0x1000 and a program at 0x2000.
struct Flat {
    structs: Vec<u8>,
    program: Vec<u8>,
}

impl UserMemory for Flat {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        let (start, memory) =
            if address < 0x2000 { (0x1000, &self.structs) } else { (0x2000, &self.program) };
        let offset = address.checked_sub(start).ok_or(Errno::EFAULT)? as usize;
        let found = memory.get(offset..).and_then(|from| from.get(..bytes.len())).ok_or(Errno::EFAULT)?;
        bytes.copy_from_slice(found);
        Ok(())
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let offset = address.checked_sub(0x1000).ok_or(Errno::EFAULT)? as usize;
        let found = self.structs.get_mut(offset..).and_then(|from| from.get_mut(..bytes.len()));
        found.ok_or(Errno::EFAULT)?.copy_from_slice(bytes);
        Ok(())
    }
}
