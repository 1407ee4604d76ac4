//! One instruction and the numbers it is made of.
//!
//! Constants carry the names of `include/uapi/linux/bpf_common.h` and `include/uapi/linux/filter.h`;
//! an instruction's `code` is the sum of a class and of the fields that class has.

/// One classic-BPF instruction, `struct sock_filter`: 8 bytes, fields in host order.
///
/// ```
/// use ringwarden_cbpf::insn::*;
///
/// // Allow a request when word 8 of its context, its opcode in the low byte, is 0.
/// let program = [
///     Insn::stmt(BPF_LD | BPF_W | BPF_ABS, 8),
///     Insn::jump(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
///     Insn::stmt(BPF_RET | BPF_K, 1),
///     Insn::stmt(BPF_RET | BPF_K, 0),
/// ];
/// let bytes: Vec<u8> = program.iter().flat_map(|insn| insn.to_ne_bytes()).collect();
/// assert_eq!(bytes.len(), 32);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Insn {
    /// What it does: class, size, mode, operation and source.
    pub code: u16,
    /// How many instructions a conditional jump skips when its condition holds.
    pub jt: u8,
    /// How many it skips when the condition does not hold.
    pub jf: u8,
    /// The immediate operand: a value, an offset, a cell number or an unconditional jump's distance.
    pub k: u32,
}

const _: () = assert!(size_of::<Insn>() == 8 && align_of::<Insn>() == 4);

impl Insn {
    /// An instruction that does not branch: `jt` and `jf` are 0.
    pub const fn stmt(code: u16, k: u32) -> Self {
        Self { code, jt: 0, jf: 0, k }
    }

    /// A conditional jump over `jt` instructions when the condition holds and over `jf` when not.
    pub const fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Self {
        Self { code, jt, jf, k }
    }

    /// The instruction as it lies in a `struct sock_filter` array of this machine.
    pub const fn to_ne_bytes(self) -> [u8; 8] {
        let [c0, c1] = self.code.to_ne_bytes();
        let [k0, k1, k2, k3] = self.k.to_ne_bytes();
        [c0, c1, self.jt, self.jf, k0, k1, k2, k3]
    }

    /// Reads back what [`to_ne_bytes`](Self::to_ne_bytes) wrote. Every value is an instruction;
    /// whether a kernel would accept it is for [`check`](crate::check()) to say.
    ///
    /// ```
    /// use ringwarden_cbpf::Insn;
    ///
    /// let array = [6, 0, 0, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0];
    /// let (chunks, rest) = array.as_chunks::<8>();
    /// let insns: Vec<Insn> = chunks.iter().copied().map(Insn::from_ne_bytes).collect();
    /// assert!(rest.is_empty());
    /// # if cfg!(target_endian = "little") {
    /// assert_eq!(insns, [Insn::stmt(6, 1), Insn::stmt(6, 0)]);
    /// # }
    /// ```
    pub const fn from_ne_bytes(bytes: [u8; 8]) -> Self {
        let [c0, c1, jt, jf, k0, k1, k2, k3] = bytes;
        Self { code: u16::from_ne_bytes([c0, c1]), jt, jf, k: u32::from_ne_bytes([k0, k1, k2, k3]) }
    }
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        $($(#[$doc])* pub const $name: u16 = $value;)*
    };
}

numbers! {
    /// Class: load A.
    BPF_LD = 0x00;
    /// Class: load X.
    BPF_LDX = 0x01;
    /// Class: store A into `M[k]`.
    BPF_ST = 0x02;
    /// Class: store X into `M[k]`.
    BPF_STX = 0x03;
    /// Class: arithmetic on A.
    BPF_ALU = 0x04;
    /// Class: jumps.
    BPF_JMP = 0x05;
    /// Class: end the program.
    BPF_RET = 0x06;
    /// Class: moves between A and X.
    BPF_MISC = 0x07;

    /// Size of a load: 32-bit word.
    BPF_W = 0x00;
    /// Size of a load: 16-bit halfword. io_uring filters may not use it.
    BPF_H = 0x08;
    /// Size of a load: byte. io_uring filters may not use it.
    BPF_B = 0x10;

    /// Mode of a load: the constant `k`.
    BPF_IMM = 0x00;
    /// Mode of a load: the context at byte `k`.
    BPF_ABS = 0x20;
    /// Mode of a load: the packet at byte X + `k`. io_uring filters may not use it.
    BPF_IND = 0x40;
    /// Mode of a load: the scratch cell `M[k]`.
    BPF_MEM = 0x60;
    /// Mode of a load: the size of the context in bytes.
    BPF_LEN = 0x80;
    /// Mode of a load: 4 × the low nibble of a packet byte. io_uring filters may not use it.
    BPF_MSH = 0xa0;

    /// Arithmetic: A + operand.
    BPF_ADD = 0x00;
    /// Arithmetic: A − operand.
    BPF_SUB = 0x10;
    /// Arithmetic: A × operand.
    BPF_MUL = 0x20;
    /// Arithmetic: A ÷ operand, unsigned.
    BPF_DIV = 0x30;
    /// Arithmetic: A or operand.
    BPF_OR = 0x40;
    /// Arithmetic: A and operand.
    BPF_AND = 0x50;
    /// Arithmetic: A shifted left.
    BPF_LSH = 0x60;
    /// Arithmetic: A shifted right, zeros coming in.
    BPF_RSH = 0x70;
    /// Arithmetic: −A.
    BPF_NEG = 0x80;
    /// Arithmetic: A modulo operand. io_uring filters may not use it.
    BPF_MOD = 0x90;
    /// Arithmetic: A exclusive-or operand.
    BPF_XOR = 0xa0;

    /// Jump: always, over `k` instructions.
    BPF_JA = 0x00;
    /// Jump: A = operand.
    BPF_JEQ = 0x10;
    /// Jump: A > operand, unsigned.
    BPF_JGT = 0x20;
    /// Jump: A ≥ operand, unsigned.
    BPF_JGE = 0x30;
    /// Jump: A and operand have a bit in common.
    BPF_JSET = 0x40;

    /// Operand of arithmetic, jumps and RET: `k`.
    BPF_K = 0x00;
    /// Operand of arithmetic and jumps: X.
    BPF_X = 0x08;
    /// Operand of RET: A.
    BPF_A = 0x10;

    /// Move: X = A.
    BPF_TAX = 0x00;
    /// Move: A = X.
    BPF_TXA = 0x80;
}

/// Scratch cells: `M[0]` to `M[15]`.
pub const BPF_MEMWORDS: u32 = 16;

/// The most instructions a program may have.
pub const BPF_MAXINSNS: usize = 4096;
