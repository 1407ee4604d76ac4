//! Fields read by hand, and contexts to read them from.

use ringwarden_uapi::Opcode;

/// A field of an operation, read from a context by hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TestField {
    pub(crate) name: &'static str,
    pub(crate) wide: bool,
    pub(crate) most: u64,
    pub(crate) read: fn(&[u32]) -> Option<u64>,
}

const fn field(name: &'static str, most: u64, read: fn(&[u32]) -> Option<u64>) -> TestField {
    TestField { name, wide: most > u32::MAX as u64, most, read }
}

fn two(words: &[u32], at: usize) -> u64 {
    u64::from(words[at]) | u64::from(words[at + 1]) << 32
}

/// The first word of the SQE, which only the guard shows.
const SQE: usize = 10;

const COMMON: [TestField; 3] = [
    field("user_data", u64::MAX, |words| Some(two(words, 0))),
    field("sqe_flags", 0xff, |words| Some(u64::from(words[2] >> 8 & 0xff))),
    field("personality", 0xffff, |words| Some(u64::from(words[SQE + 10] >> 16))),
];
const READ: [TestField; 4] = [
    field("off", u64::MAX, |words| Some(two(words, SQE + 2))),
    field("len", 0xffff_ffff, |words| Some(words[SQE + 6].into())),
    field("rw_flags", 0xffff_ffff, |words| Some(words[SQE + 7].into())),
    field("ioprio", 0xffff, |words| Some(u64::from(words[SQE] >> 16))),
];
const URING_CMD: [TestField; 4] = [
    field("cmd_op", 0xffff_ffff, |words| Some(words[SQE + 2].into())),
    field("level", 0xffff_ffff, |words| Some(words[SQE + 4].into())),
    field("optname", 0xffff_ffff, |words| Some(words[SQE + 5].into())),
    field("buf_index", 0xffff, |words| Some(u64::from(words[SQE + 10] & 0xffff))),
];
const POLL_ADD: [TestField; 2] = [
    field("events", 0xd000_ffff, |words| Some(u64::from(words[SQE + 7] & 0xd000_ffff))),
    field("fd", 0xffff_ffff, |words| Some(words[SQE + 1].into())),
];
const SOCKET: [TestField; 4] = [
    field("family", 0xffff_ffff, |words| Some(words[4].into())),
    field("type", 0xf, |words| Some(u64::from(words[5] & 0xf))),
    field("type_flags", 0xffff_fff0, |words| Some(u64::from(words[5] & !0xf))),
    field("protocol", 0xffff_ffff, |words| Some(words[6].into())),
];
/// O_LARGEFILE on the architecture of the test.
const LARGEFILE: u64 = if cfg!(target_arch = "aarch64") { 0o400000 } else { 0o100000 };
const OPEN: [TestField; 3] = [
    field("flags", !LARGEFILE, |words| Some(two(words, 4) & !LARGEFILE)),
    field("mode", u64::MAX, |words| Some(two(words, 6))),
    field("resolve", u64::MAX, |words| Some(two(words, 8))),
];
const CONNECT: [TestField; 2] = [
    field("family", 0xffff_ffff, |words| Some(words[4].into())),
    field("port", 0xffff, |words| {
        let [a, b, ..] = words[5].to_ne_bytes();
        matches!(words[4], 2 | 10).then_some(u64::from(a) << 8 | u64::from(b))
    }),
];

/// The operations that rules are generated for: every payload, and some without.
pub(crate) const OPERATIONS: [Opcode; 8] = [
    Opcode::READ,
    Opcode::SOCKET,
    Opcode::OPENAT,
    Opcode::OPENAT2,
    Opcode::CONNECT,
    Opcode::BIND,
    Opcode::URING_CMD,
    Opcode::POLL_ADD,
];

pub(crate) fn fields(operation: Opcode) -> Vec<TestField> {
    let own: &[TestField] = match operation {
        Opcode::SOCKET => &SOCKET,
        Opcode::OPENAT | Opcode::OPENAT2 => &OPEN,
        Opcode::CONNECT | Opcode::BIND => &CONNECT,
        Opcode::READ => &READ,
        Opcode::URING_CMD => &URING_CMD,
        Opcode::POLL_ADD => &POLL_ADD,
        _ => &[],
    };
    // The operation's own fields are the interesting ones.
    [own, own, &COMMON].concat()
}

/// Numbers at which something often changes.
pub(crate) const NARROW: &[u64] = &[
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    9,
    0xa,
    0xf,
    0x10,
    0x40,
    0x80,
    0xff,
    0x100,
    443,
    0x1234,
    0x8000,
    0xff00,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
];
/// Those that take more than 32 bits.
pub(crate) const WIDE: &[u64] = &[
    0x1_0000_0000,
    0x1_0000_0001,
    0xff_ffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_0000_0000,
    0xffff_ffff_ffff_ffff,
];

/// Small random numbers: contexts are too many to be drawn, and shrunk, one word at a time.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number, by xorshift.
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn pick(&mut self, pool: &[u32]) -> u32 {
        match self.next() % 4 {
            0 => 0,
            1 => self.next() as u32,
            _ => pool[self.next() as usize % pool.len()],
        }
    }
}

/// Words near the numbers at which a rule's outcome may change.
pub(crate) fn pool(literals: &[u64]) -> Vec<u32> {
    let addresses = [
        [10, 1, 2, 3],
        [10, 255, 0, 1],
        [127, 0, 0, 1],
        [192, 168, 127, 1],
        [0xfd, 0, 0, 0],
        [0x20, 1, 0xd, 0xb8],
    ];
    [NARROW, WIDE, literals]
        .concat()
        .into_iter()
        .flat_map(|v| [v, v.wrapping_add(1), v.wrapping_sub(1), v >> 32, u64::from((v as u16).swap_bytes())])
        .map(|v| v as u32)
        .chain(addresses.map(u32::from_ne_bytes))
        .collect()
}

/// A context of an operation, as the guard has it. What kernels show is its beginning.
pub(crate) fn context(operation: Opcode, pool: &[u32], random: &mut Random) -> [u32; 26] {
    let mut words = [0; 26].map(|_: u32| random.pick(pool));
    words[2] = u32::from(operation.0) | (words[2] & 0xff) << 8 | 24 << 16;
    words[3] = 0;
    if matches!(operation, Opcode::CONNECT | Opcode::BIND) && random.next() & 3 > 0 {
        words[4] = [0, 1, 2, 2, 10, 10][random.next() as usize % 6];
    }
    words
}
