//! The conditions that programs are compared on, in a form that every compiler can be told.

use ringwarden_uapi::Opcode;

/// A condition: every clause holds.
pub(super) struct Case {
    /// What the table calls it.
    pub(super) name: &'static str,
    pub(super) operation: Opcode,
    /// The system call with the same arguments.
    pub(super) call: (&'static str, i64),
    pub(super) clauses: &'static [Clause],
}

/// A condition on one field.
pub(super) struct Clause {
    /// The field in policies.
    pub(super) field: &'static str,
    /// Which argument of the system call it is.
    pub(super) argument: u8,
    /// Its first word in a filter's context.
    pub(super) word: usize,
    /// Whether it has 64 bits.
    pub(super) wide: bool,
    pub(super) test: Test,
}

/// What a field is compared with.
pub(super) enum Test {
    /// One of so many values, `step` apart.
    In { first: u64, step: u64, count: u64 },
    /// `field & mask == value`.
    Masked { mask: u64, value: u64 },
    /// At least so much.
    AtLeast(u64),
}

/// One comparison.
#[derive(Clone, Copy)]
pub(super) enum Comparison {
    Equal(u64),
    Masked { mask: u64, value: u64 },
    AtLeast(u64),
}

impl Clause {
    /// The comparisons of which one must hold.
    pub(super) fn alternatives(&self) -> Vec<Comparison> {
        match self.test {
            Test::In { first, step, count } => {
                (0..count).map(|n| Comparison::Equal(first + n * step)).collect()
            }
            Test::Masked { mask, value } => vec![Comparison::Masked { mask, value }],
            Test::AtLeast(least) => vec![Comparison::AtLeast(least)],
        }
    }

    /// The clause in a policy.
    fn text(&self) -> String {
        let field = self.field;
        match self.test {
            Test::In { first, count: 1, .. } => format!("{field} == {first}"),
            Test::In { .. } => {
                let values = self.alternatives().into_iter().map(|one| match one {
                    Comparison::Equal(value) => value.to_string(),
                    _ => String::new(),
                });
                format!("{field} in {{{}}}", values.collect::<Vec<_>>().join(", "))
            }
            Test::Masked { mask, value } => format!("{field} & {mask:#x} == {value:#x}"),
            Test::AtLeast(least) => format!("{field} >= {least}"),
        }
    }
}

impl Case {
    /// The policy that holds it.
    pub(super) fn policy(&self) -> String {
        let rule: Vec<_> = self.clauses.iter().map(Clause::text).collect();
        format!("version = 1\ndefault = \"deny\"\n[ops]\n{} = \"{}\"\n", self.operation, rule.join(" && "))
    }

    /// Every way to meet it: a comparison for each clause.
    pub(super) fn ways(&self) -> Vec<Vec<(&Clause, Comparison)>> {
        self.clauses.iter().fold(vec![Vec::new()], |ways, clause| {
            let one_more = |way: &Vec<(&'static Clause, Comparison)>| {
                let more = clause.alternatives().into_iter().map(move |one| (clause, one));
                more.map(|last| way.iter().copied().chain([last]).collect()).collect::<Vec<_>>()
            };
            ways.iter().flat_map(one_more).collect()
        })
    }
}

const fn one(value: u64) -> Test {
    Test::In { first: value, step: 1, count: 1 }
}

const fn narrow(field: &'static str, argument: u8, word: usize, test: Test) -> Clause {
    Clause { field, argument, word, wide: false, test }
}

const fn socket(name: &'static str, clauses: &'static [Clause]) -> Case {
    Case { name, operation: Opcode::SOCKET, call: ("socket", libc::SYS_socket), clauses }
}

const fn openat(name: &'static str, clauses: &'static [Clause]) -> Case {
    Case { name, operation: Opcode::OPENAT, call: ("openat", libc::SYS_openat), clauses }
}

const fn family(test: Test) -> Clause {
    narrow("family", 0, 4, test)
}

const fn protocol(test: Test) -> Clause {
    narrow("protocol", 2, 6, test)
}

const fn flags(test: Test) -> Clause {
    Clause { field: "flags", argument: 2, word: 4, wide: true, test }
}

const fn mode(test: Test) -> Clause {
    Clause { field: "mode", argument: 3, word: 6, wide: true, test }
}

pub(super) const CASES: &[Case] = &[
    socket("`family == AF_INET`", &[family(one(2))]),
    socket("`family in {AF_UNIX, AF_INET}`", &[family(Test::In { first: 1, step: 1, count: 2 })]),
    socket(
        "`family == AF_INET && type == SOCK_STREAM`",
        &[family(one(2)), narrow("type", 1, 5, Test::Masked { mask: 0xf, value: 1 })],
    ),
    socket(
        "`family in {AF_INET, AF_INET6}` and one of 4 protocols",
        &[
            family(Test::In { first: 2, step: 8, count: 2 }),
            protocol(Test::In { first: 6, step: 11, count: 4 }),
        ],
    ),
    openat(
        "`flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC) == 0`",
        &[flags(Test::Masked { mask: 0o1103, value: 0 })],
    ),
    openat(
        "`flags & O_ACCMODE == O_RDONLY && mode == 0`",
        &[flags(Test::Masked { mask: 3, value: 0 }), mode(one(0))],
    ),
    openat("`mode >= 0x100000000`", &[mode(Test::AtLeast(1 << 32))]),
    socket("one of 16 protocols", &[protocol(Test::In { first: 7, step: 10, count: 16 })]),
    socket("one of 256 protocols", &[protocol(Test::In { first: 7, step: 10, count: 256 })]),
    socket("one of 2000 protocols", &[protocol(Test::In { first: 7, step: 10, count: 2000 })]),
    socket("100 protocols in a row", &[protocol(Test::In { first: 7, step: 1, count: 100 })]),
    openat("one of 64 modes", &[mode(Test::In { first: 0o100, step: 3, count: 64 })]),
];
