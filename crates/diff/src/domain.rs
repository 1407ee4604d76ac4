//! Which contexts requests show: the ground that filters are compared on.
//!
//! A context has 320 bits or more, and most of their values no request ever shows. Two filters that differ on
//! those alone are equal. What is left out here is what kernels cannot show; where that is not certain,
//! the context stays in: then a difference may be reported that no request brings about, but nothing is
//! called equal that is not. Left in are, above all, contexts whose request the operation's own
//! preparation refuses for other reasons ([`ringwarden_filter::prep`]), such as IOSQE_FIXED_FILE on
//! operations that take no file.
//!
//! | part | what it can be | why |
//! |---|---|---|
//! | opcode, payload size, padding | one value | the kernel fills them, by the opcode |
//! | `user_data` | anything | the program's own |
//! | bit 0x80 of the flags | 0 | EINVAL (`SQE_VALID_FLAGS`, `io_uring/io_uring.c`) |
//! | IOSQE_BUFFER_SELECT | 0 where the opcode has no use for it | EOPNOTSUPP (`io_init_req`) |
//! | IOSQE_IO_DRAIN | only with IOSQE_ASYNC | a drain takes the slow path (`io_init_req`) |
//! | IOSQE_ASYNC | 1 where the operation's preparation sets it | conformance/contexts.toml |
//! | payload of SOCKET | `type` without bits but the type's, SOCK_CLOEXEC and SOCK_NONBLOCK | EINVAL (`io_socket_prep`) |
//! | payload of OPENAT | what `build_open_how` (`fs/open.c`) makes of flags and mode; O_LARGEFILE | [`openat`](Domain::openat) |
//! | payload of OPENAT2 | anything, with O_LARGEFILE or O_PATH | `__io_openat_prep` |
//! | payload of CONNECT, and BIND where it is shown | a family of 16 bits; port and address of AF_INET and AF_INET6 only | `io_connect_bpf_populate` |
//! | any other payload | zeros | |
//! | the SQE, in the guard | anything where the context has not said it already; FADVISE's advice may force IOSQE_ASYNC | [`sqe_bits`], `io_fadvise_prep` |
//!
//! Linux 7.2; what other kernels show, [`KernelModel`] says. Of payloads nothing is taken from the engine that makes them
//! of requests: this is the second way of saying what they can be, and tests hold each against the other.

use crate::gate::{Bit, Gates};
use crate::word::{self, Word};
use ringwarden_filter::{Context, KernelModel, sqe_bits};
use ringwarden_uapi::bpf::BpfCtx;
use ringwarden_uapi::open::{MODE_BITS, O_CREAT, O_LARGEFILE, O_PATH, O_PATH_FLAGS, O_TMPFILE_BIT, O_TRUNC};
use ringwarden_uapi::ring::{Sqe, SqeFlags};
use ringwarden_uapi::{OpTraits, Opcode, PayloadKind};

/// `AF_INET`.
const AF_INET: u32 = 2;
/// `AF_INET6`.
const AF_INET6: u32 = 10;
/// `SOCK_TYPE_MASK`, `SOCK_NONBLOCK` and `SOCK_CLOEXEC`: what a socket type is made of.
const SOCKET_TYPE: u32 = 0xf | 0o4000 | 0o2000000;
/// The word of the context that holds opcode, flags and payload size.
const HEADER: usize = 2;
/// The first word of the payload.
const PAYLOAD: usize = 4;
/// The first word behind what kernels show.
const SQE: usize = BpfCtx::SIZE / 4;
/// The word of the SQE that holds the operation's own flags, among them FADVISE's advice.
const OP_FLAGS: usize = 7;
/// The pairs of words of the SQE that can be one number, the high half first, and the others.
const SQE_ORDER: [usize; 16] = [3, 2, 5, 4, 13, 12, 15, 14, 0, 1, 6, 7, 8, 9, 10, 11];
/// How far up the flags are in [`HEADER`].
const FLAGS: u32 = 8;

/// The contexts of one operation's requests on one kernel.
#[derive(Clone, Debug)]
pub(crate) struct Domain {
    payload: Payload,
    /// The word that holds FADVISE's advice.
    advice: Option<usize>,
    /// The bits that every context has.
    fixed: Vec<u32>,
    /// The bits that contexts can have or not, and thereby the variables: word and bit, word after word
    /// and the most significant bit first. What programs compare with constants takes few nodes then.
    free: Vec<(usize, u32)>,
}

/// What an operation shows beyond what they all do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Payload {
    Nothing,
    Socket,
    Openat,
    Openat2,
    Connect,
    /// A payload that this version does not know.
    Anything {
        words: usize,
    },
}

impl Domain {
    pub(crate) fn new(model: KernelModel, opcode: Opcode) -> Self {
        let size = model.payload_size(opcode);
        let payload = match opcode.payload() {
            _ if size == 0 => Payload::Nothing,
            Some(PayloadKind::Socket) => Payload::Socket,
            Some(PayloadKind::Openat) => Payload::Openat,
            Some(PayloadKind::OpenHow) => Payload::Openat2,
            Some(PayloadKind::Sockaddr) => Payload::Connect,
            None => Payload::Anything { words: usize::from(size).div_ceil(4) },
        };
        // What an SQE of zeros shows is what the kernel fills in by the opcode alone.
        let zeros = Context::header(model, &Sqe { opcode: opcode.0, ..Sqe::default() });
        let forced = zeros.sqe_flags();
        let mut fixed = vec![0; zeros.words().len()];
        fixed[HEADER] = zeros.words()[HEADER];

        let mut flags = SqeFlags::all() - forced;
        if !opcode.traits().contains(OpTraits::BUFFER_SELECT) {
            flags -= SqeFlags::BUFFER_SELECT;
        }
        let payload_words = payload.free(model).into_iter().map(|(word, mask)| (PAYLOAD + word, mask));
        let shown = sqe_bits(model, opcode);
        let sqe_words = SQE_ORDER.map(|word| (SQE + word, shown[word]));
        let common = [(HEADER, u32::from(flags.bits()) << FLAGS), (1, u32::MAX), (0, u32::MAX)];
        let free = payload_words.chain(sqe_words).chain(common);
        let free = free.flat_map(|(word, mask)| bits(word, mask)).collect();
        let advice = (opcode == Opcode::FADVISE && shown[OP_FLAGS] != 0).then_some(SQE + OP_FLAGS);
        Self { payload, advice, fixed, free }
    }

    /// The words of a context, with a variable for every bit that can be 0 or 1.
    pub(crate) fn context(&self, gates: &mut impl Gates) -> Vec<Word> {
        let mut words: Vec<Word> = self.fixed.iter().map(|&fixed| word::constant(fixed)).collect();
        for (number, &(word, bit)) in self.free.iter().enumerate() {
            words[word][bit as usize] = gates.variable(number);
        }
        words
    }

    /// Whether a request can show these words, which are a [`context`](Self::context)'s.
    pub(crate) fn possible(&self, gates: &mut impl Gates, words: &[Word]) -> Bit {
        let flag = |flag: SqeFlags| words[HEADER][(FLAGS + flag.bits().trailing_zeros()) as usize];
        let asynchronous = flag(SqeFlags::ASYNC);
        let drains = gates.implies(flag(SqeFlags::IO_DRAIN), asynchronous);
        let payload = match self.payload {
            Payload::Openat => self.openat(gates, words, asynchronous),
            Payload::Openat2 => self.openat2(gates, words, asynchronous),
            Payload::Connect => self.connect(gates, words),
            Payload::Nothing | Payload::Socket | Payload::Anything { .. } => Bit::TRUE,
        };
        let possible = gates.and(drains, payload);
        // The first three kinds of advice are only hints (`io_fadvise_force_async`).
        let Some(advice) = self.advice else { return possible };
        let most = any_of(gates, &words[advice], !3);
        let three = gates.and(words[advice][0], words[advice][1]);
        let long = gates.or(most, three);
        let worker = gates.implies(long, asynchronous);
        gates.and(possible, worker)
    }

    /// The words of the context in which the variables have these values; those without one are false.
    pub(crate) fn words(&self, values: &[bool]) -> Vec<u32> {
        let mut words = self.fixed.clone();
        for (&(word, bit), _) in self.free.iter().zip(values).filter(|(_, value)| **value) {
            words[word] |= 1 << bit;
        }
        words
    }

    /// O_PATH drops what it cannot be with and keeps O_LARGEFILE away, and there is a mode only where
    /// a file can be created.
    fn openat(&self, gates: &mut impl Gates, words: &[Word], asynchronous: Bit) -> Bit {
        let path = any_of(gates, &words[PAYLOAD], O_PATH);
        let large = any_of(gates, &words[PAYLOAD], O_LARGEFILE);
        let dropped = any_of(gates, &words[PAYLOAD], !O_PATH_FLAGS);
        let flags = gates.choose(path, !dropped, large);
        let creates = any_of(gates, &words[PAYLOAD], O_CREAT | O_TMPFILE_BIT);
        let mode = word::is_nonzero(gates, &words[PAYLOAD + 2]);
        let mode = gates.implies(mode, creates);
        let worker = self.worker(gates, words, asynchronous);
        let how = gates.and(flags, mode);
        gates.and(how, worker)
    }

    fn openat2(&self, gates: &mut impl Gates, words: &[Word], asynchronous: Bit) -> Bit {
        let flags = any_of(gates, &words[PAYLOAD], O_PATH | O_LARGEFILE);
        let worker = self.worker(gates, words, asynchronous);
        gates.and(flags, worker)
    }

    /// What may take long is for a worker thread (`io_openat_force_async`).
    fn worker(&self, gates: &mut impl Gates, words: &[Word], asynchronous: Bit) -> Bit {
        let long = any_of(gates, &words[PAYLOAD], O_CREAT | O_TRUNC | O_TMPFILE_BIT);
        gates.implies(long, asynchronous)
    }

    fn connect(&self, gates: &mut impl Gates, words: &[Word]) -> Bit {
        let [family, port, first, rest @ ..] = &words[PAYLOAD..SQE] else { return Bit::TRUE };
        let inet = word::equal(gates, family, &word::constant(AF_INET));
        let inet6 = word::equal(gates, family, &word::constant(AF_INET6));
        let has_port = gates.or(inet, inet6);
        let mut possible = Bit::TRUE;
        let four = [(port, has_port), (first, has_port)];
        for (shown, by) in four.into_iter().chain(rest.iter().map(|word| (word, inet6))) {
            let shown = word::is_nonzero(gates, shown);
            let shown = gates.implies(shown, by);
            possible = gates.and(possible, shown);
        }
        possible
    }
}

impl Payload {
    /// The bits that the payload can have: words, and in each a mask.
    fn free(self, model: KernelModel) -> Vec<(usize, u32)> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Socket => vec![(0, u32::MAX), (1, SOCKET_TYPE), (2, u32::MAX)],
            // The high half of each number is its second word.
            Self::Openat => {
                let flags = model.facts().open_flags | O_LARGEFILE;
                vec![(1, (flags >> 32) as u32), (0, flags as u32), (2, MODE_BITS as u32)]
            }
            Self::Openat2 => [1, 0, 3, 2, 5, 4].map(|word| (word, u32::MAX)).to_vec(),
            // Ports are compared in host order, after a swap of their two bytes; addresses as they are.
            Self::Connect => {
                let address = (2..6).map(|word| (word, u32::MAX));
                [(0, 0xffff), (1, 0xff), (1, 0xff00)].into_iter().chain(address).collect()
            }
            Self::Anything { words } => (0..words).map(|word| (word, u32::MAX)).collect(),
        }
    }
}

/// The bits of a mask, the most significant first.
fn bits(word: usize, mask: u32) -> impl Iterator<Item = (usize, u32)> {
    (0..32).rev().filter(move |bit| mask >> bit & 1 != 0).map(move |bit| (word, bit))
}

/// Whether one of those flags is set; flags above 32 bits are not looked at.
fn any_of(gates: &mut impl Gates, word: &Word, flags: u64) -> Bit {
    let bits = word.iter().enumerate().filter(|(bit, _)| flags >> bit & 1 != 0);
    bits.fold(Bit::FALSE, |any, (_, &bit)| gates.or(any, bit))
}

#[cfg(test)]
mod tests;
