//! All machines on programs that are chosen: every instruction, jumps of every length, the longest program.
//! Random ones are for the crate's properties.

use ringwarden_cbpf::insn::*;
use ringwarden_cbpf::{Insn, Machine, Program};

/// Numbers near which things change.
const NUMBERS: [u32; 14] =
    [0, 1, 2, 3, 31, 32, 33, 0xfff, 0x1000, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, u32::MAX];

const A: u32 = 0;
const X: u32 = 4;

fn machines(insns: &[Insn]) -> [Program; 3] {
    let program = Program::new(insns, 40).expect("an accepted program");
    Machine::ALL.map(|machine| {
        let program = program.clone().with_machine(machine);
        assert_eq!(program.machine(), machine);
        program
    })
}

/// The value that all machines give.
fn value(programs: &[Program; 3], context: &[u32; 10]) -> u32 {
    let [plain, others @ ..] = programs;
    let value = plain.run(context);
    for other in others {
        assert_eq!(other.run(context), value, "{:?} {:x?} {context:x?}", other.machine(), plain.insns());
    }
    value
}

/// Behind loads of X and A from the context.
fn with_registers(insns: &[Insn]) -> Vec<Insn> {
    let load = |k| Insn::stmt(BPF_LD | BPF_W | BPF_ABS, k);
    let mut all = vec![load(X), Insn::stmt(BPF_MISC | BPF_TAX, 0), load(A)];
    all.extend(insns);
    all
}

fn on_all_numbers(insns: &[Insn]) {
    let programs = machines(&with_registers(insns));
    for a in NUMBERS {
        for x in NUMBERS {
            value(&programs, &[a, x, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
    }
}

#[test]
fn arithmetic_by_constants_and_by_x() {
    let ret = Insn::stmt(BPF_RET | BPF_A, 0);
    for op in [BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_OR, BPF_AND, BPF_LSH, BPF_RSH, BPF_XOR] {
        on_all_numbers(&[Insn::stmt(BPF_ALU | op | BPF_X, 0), ret]);
        for k in NUMBERS {
            let fits = match op {
                BPF_DIV => k != 0,
                BPF_LSH | BPF_RSH => k < 32,
                _ => true,
            };
            if fits {
                on_all_numbers(&[Insn::stmt(BPF_ALU | op | BPF_K, k), ret]);
            }
        }
    }
    on_all_numbers(&[Insn::stmt(BPF_ALU | BPF_NEG, 0), ret]);
    for shift in 0..32 {
        on_all_numbers(&[Insn::stmt(BPF_ALU | BPF_LSH | BPF_K, shift), ret]);
        on_all_numbers(&[Insn::stmt(BPF_ALU | BPF_RSH | BPF_K, shift), ret]);
        on_all_numbers(&[Insn::stmt(BPF_ALU | BPF_DIV | BPF_K, 1 << shift), ret]);
    }
}

#[test]
fn what_a_division_by_zero_skips() {
    let programs = machines(&with_registers(&[
        Insn::stmt(BPF_ALU | BPF_DIV | BPF_X, 0),
        Insn::stmt(BPF_RET | BPF_K, 7),
    ]));
    assert_eq!(value(&programs, &[5, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 0);
    assert_eq!(value(&programs, &[5, 1, 0, 0, 0, 0, 0, 0, 0, 0]), 7);
}

#[test]
fn loads_moves_and_returns() {
    let programs: Vec<_> = (0..10)
        .map(|word| {
            machines(&[Insn::stmt(BPF_LD | BPF_W | BPF_ABS, 4 * word), Insn::stmt(BPF_RET | BPF_A, 0)])
        })
        .collect();
    let context = std::array::from_fn(|word| word as u32 + 100);
    for (program, word) in programs.iter().zip(context) {
        assert_eq!(value(program, &context), word);
    }
    let last = [Insn::stmt(BPF_LD | BPF_W | BPF_ABS, 124), Insn::stmt(BPF_RET | BPF_A, 0)];
    for machine in Machine::ALL {
        let program = Program::new(&last, 128).expect("an accepted program").with_machine(machine);
        assert_eq!(program.run(&std::array::from_fn::<_, 32, _>(|word| word as u32)), 31);
    }
    for k in NUMBERS {
        assert_eq!(value(&machines(&[Insn::stmt(BPF_RET | BPF_K, k)]), &[0; 10]), k);
        for (load, out) in [(BPF_LD, BPF_TAX), (BPF_LDX, BPF_TXA)] {
            on_all_numbers(&[
                Insn::stmt(load | BPF_W | BPF_IMM, k),
                Insn::stmt(BPF_MISC | out, 0),
                Insn::stmt(BPF_ALU | BPF_ADD | BPF_X, 0),
                Insn::stmt(BPF_RET | BPF_A, 0),
            ]);
        }
    }
    for load in [BPF_LD, BPF_LDX] {
        on_all_numbers(&[
            Insn::stmt(load | BPF_W | BPF_LEN, 0),
            Insn::stmt(BPF_ALU | BPF_ADD | BPF_X, 0),
            Insn::stmt(BPF_RET | BPF_A, 0),
        ]);
    }
}

#[test]
fn registers_begin_as_zero() {
    assert_eq!(value(&machines(&[Insn::stmt(BPF_RET | BPF_A, 0)]), &[9; 10]), 0);
    let x = [Insn::stmt(BPF_MISC | BPF_TXA, 0), Insn::stmt(BPF_RET | BPF_A, 0)];
    assert_eq!(value(&machines(&x), &[9; 10]), 0);
}

/// Each cell keeps what A or X put there, and gives it to either.
#[test]
fn cells_are_apart() {
    for (store, load) in [(BPF_ST, BPF_LD), (BPF_ST, BPF_LDX), (BPF_STX, BPF_LD), (BPF_STX, BPF_LDX)] {
        let (fill, back) = match (store, load) {
            (BPF_ST, BPF_LD) => (BPF_LD, None),
            (BPF_ST, _) => (BPF_LD, Some(BPF_TXA)),
            (_, BPF_LD) => (BPF_LDX, None),
            _ => (BPF_LDX, Some(BPF_TXA)),
        };
        let stores = (0..16)
            .flat_map(|cell| [Insn::stmt(fill | BPF_W | BPF_IMM, 1000 + cell), Insn::stmt(store, cell)]);
        let stores: Vec<_> = stores.collect();
        for cell in 0..16 {
            let mut insns = stores.clone();
            insns.extend([Insn::stmt(BPF_LD | BPF_W | BPF_IMM, 1), Insn::stmt(BPF_LDX | BPF_W | BPF_IMM, 2)]);
            insns.push(Insn::stmt(load | BPF_MEM, cell));
            insns.extend(back.map(|back| Insn::stmt(BPF_MISC | back, 0)));
            insns.push(Insn::stmt(BPF_RET | BPF_A, 0));
            assert_eq!(value(&machines(&insns), &[0; 10]), 1000 + cell);
        }
    }
}

#[test]
fn comparisons_with_constants_and_with_x() {
    for op in [BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET] {
        for (jt, jf) in [(0, 1), (1, 0), (1, 2), (2, 1), (0, 0), (2, 2)] {
            let rets = [10, 20, 30].map(|k| Insn::stmt(BPF_RET | BPF_K, k));
            let jump = |source, k| [&[Insn::jump(BPF_JMP | op | source, k, jt, jf)][..], &rets].concat();
            on_all_numbers(&jump(BPF_X, 0));
            for k in NUMBERS {
                on_all_numbers(&jump(BPF_K, k));
                // What is one step, and what leads into its middle.
                let masked = [&[Insn::stmt(BPF_ALU | BPF_AND | BPF_K, 0xffff)][..], &jump(BPF_K, k)].concat();
                on_all_numbers(&masked);
                let into = |skip| {
                    let mut insns = vec![
                        Insn::stmt(BPF_ALU | BPF_ADD | BPF_K, 0x1_0001),
                        Insn::jump(BPF_JMP | BPF_JGT | BPF_X, 0, skip, 0),
                        Insn::stmt(BPF_LD | BPF_W | BPF_ABS, A),
                    ];
                    insns.extend(&masked);
                    insns
                };
                on_all_numbers(&into(1));
                on_all_numbers(&into(2));
            }
        }
    }
}

/// The code between is of instructions of two bytes and of five, so that distances in bytes fall on both sides of
/// what a short jump reaches.
#[test]
fn jumps_of_every_length() {
    let fillers = [
        Insn::stmt(BPF_ALU | BPF_NEG, 0),
        Insn::stmt(BPF_ALU | BPF_ADD | BPF_K, 0x1234_5678),
        Insn::stmt(BPF_ALU | BPF_LSH | BPF_K, 3),
    ];
    for filler in fillers {
        for near in (0..=70).chain(120..=130).chain([253, 254, 255]) {
            for (jt, jf) in [(0, near), (near, 0), (near, near / 2)] {
                let mut insns = vec![Insn::jump(BPF_JMP | BPF_JEQ | BPF_K, 1, jt, jf)];
                insns.extend(vec![filler; usize::from(near)]);
                insns.push(Insn::stmt(BPF_RET | BPF_A, 0));
                let programs = machines(&with_registers(&insns));
                for a in [0, 1, 2] {
                    value(&programs, &[a, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
                }
            }
        }
        for far in [255, 256, 4000, 4092] {
            let mut insns = vec![Insn::stmt(BPF_JMP | BPF_JA, far)];
            insns.extend(vec![filler; far as usize]);
            insns.push(Insn::stmt(BPF_RET | BPF_A, 0));
            insns.drain(..insns.len().saturating_sub(BPF_MAXINSNS - 3));
            let context = [5, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            value(&machines(&with_registers(&insns)), &context);
        }
    }
}

/// The longest program, of what takes most bytes, and every jump leads as far as it can.
#[test]
fn the_longest_program() {
    let mut insns = vec![Insn::stmt(BPF_LD | BPF_W | BPF_ABS, A)];
    while insns.len() < BPF_MAXINSNS - 2 {
        let left = BPF_MAXINSNS - 2 - insns.len();
        let reach = left.min(255) as u8;
        insns.push(match insns.len() % 3 {
            0 => Insn::stmt(BPF_ALU | BPF_DIV | BPF_K, 0x1_0003),
            1 => Insn::jump(BPF_JMP | BPF_JSET | BPF_K, 0x8765_4321, reach, reach / 2),
            _ => Insn::stmt(BPF_ALU | BPF_ADD | BPF_K, 0x9e37_79b9),
        });
    }
    insns.extend([1, 2].map(|k| Insn::stmt(BPF_RET | BPF_K, k)));
    assert_eq!(insns.len(), BPF_MAXINSNS);
    let programs = machines(&insns);
    for a in 0..1000u32 {
        value(&programs, &[a.wrapping_mul(0x0123_4567), 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}

/// Every element of a large set, and its neighbours.
#[test]
fn a_large_set() {
    let element = |n: u32| 1000 * n + 7;
    let mut insns = vec![Insn::stmt(BPF_LD | BPF_W | BPF_ABS, A)];
    for n in 0..512 {
        insns.push(Insn::jump(BPF_JMP | BPF_JEQ | BPF_K, element(n), 0, 1));
        insns.push(Insn::stmt(BPF_RET | BPF_K, 1));
    }
    insns.push(Insn::stmt(BPF_RET | BPF_K, 0));
    let programs = machines(&insns);
    for n in 0..512 {
        for (a, expected) in [(element(n) - 1, 0), (element(n), 1), (element(n) + 1, 0)] {
            assert_eq!(value(&programs, &[a, 0, 0, 0, 0, 0, 0, 0, 0, 0]), expected);
        }
    }
}

/// Code ends with its program, and clones keep it.
#[test]
fn a_clone_runs_when_the_first_is_gone_and_so_does_another_thread() {
    let [.., native] = machines(&with_registers(&[Insn::stmt(BPF_RET | BPF_A, 0)]));
    let clone = native.clone();
    drop(native);
    let context = [3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(clone.run(&context), 3);
    assert_eq!(std::thread::spawn(move || clone.run(&context)).join().expect("a value"), 3);
}

/// Code of many programs is in one piece, for as long as one of them is there.
#[test]
fn programs_together_keep_apart() {
    let program = |k: u32| {
        let filler = vec![Insn::stmt(BPF_ALU | BPF_ADD | BPF_K, 0); k as usize % 7];
        let insns = [&filler[..], &[Insn::stmt(BPF_RET | BPF_K, k)]].concat();
        Program::new(&insns, 40).expect("an accepted program")
    };
    for machine in Machine::ALL {
        let mut programs = Program::all_with_machine((0..1000).map(program).collect(), machine);
        for (k, program) in programs.iter().enumerate() {
            assert_eq!((program.machine(), program.run(&[0; 10])), (machine, k as u32));
        }
        let last = programs.pop().expect("a thousandth");
        drop(programs);
        assert_eq!(last.run(&[0; 10]), 999);
    }
    assert_eq!(Program::all_with_machine(Vec::new(), Machine::Native), []);
}
