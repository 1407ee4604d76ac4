//! [`Code`]: what can be wrong with a policy, as data.

use std::fmt;

macro_rules! codes {
    ($($name:ident = $code:literal, $meaning:literal;)*) => {
        /// What a [`Diagnostic`](super::Diagnostic) is about; codes from `P401` on are warnings. Codes keep their meaning between versions.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = concat!("`", $code, "`: ", $meaning, ".")] $name,)*
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as it is printed, such as `P203`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What the code means, in one line.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }
        }
    };
}

codes! {
    Toml = "P001", "the file is not valid TOML";
    Version = "P002", "`version` is missing or is not one that this version reads";
    UnknownKey = "P003", "a key or table that the language does not have";
    WrongType = "P005", "a TOML value of another type than the key takes";
    Default = "P006", "`default` is missing or is neither `\"allow\"` nor `\"deny\"`";
    UnknownOperation = "P007", "a key of `[ops]` that is neither an operation nor a group";
    IncompleteTest = "P008", "a test or an assertion that does not say what it is about, or what it expects";
    ImpossibleTest = "P009", "a test of a request that no program can make";
    Extends = "P010", "a policy that another one names and that cannot be read";
    UnknownSetupFlag = "P011", "a name in `[setup]` that is not a flag of rings";
    Entries = "P012", "`max_entries` is not a size that rings can have";
    UnknownRegister = "P013", "a name in `[register]` that is neither a register opcode nor a group";
    Conflict = "P014", "a register opcode that is both allowed and denied";
    Taken = "P015", "a name in `[define]` that has another meaning, or that no definition can have";
    Circular = "P016", "definitions that are made of each other in a circle";
    NotConstant = "P017", "a definition that is neither a constant nor a set of constants";
    UnexpectedCharacter = "P101", "a character that no expression holds";
    BadNumber = "P102", "a number that cannot be read or exceeds 64 bits";
    BadAddress = "P103", "an IP address or network that cannot be read";
    Syntax = "P104", "an expression that is not complete or not well-formed";
    Unclosed = "P105", "a bracket without its partner";
    Chained = "P106", "comparisons in a row, as in `a < b < c`";
    TooDeep = "P107", "an expression nested too deeply";
    UnknownName = "P201", "a name that is neither a field nor a constant";
    OtherOperation = "P202", "a field that the operation does not have";
    OtherKind = "P203", "values of two kinds that do not go together";
    NotANumber = "P204", "a condition or an address where a number belongs";
    NotAnAddress = "P205", "an address used as something else, or a number used as an address";
    Constant = "P206", "a condition that is always true or always false";
    DoesNotFit = "P207", "a number with more bits than the field";
    Shift = "P208", "a shift by something other than a number below the field's size";
    NotASet = "P209", "the right side of `in`, an element of a set, or a value of a test is not constant";
    EmptySet = "P210", "a set or range that holds nothing";
    NotBits = "P211", "a constant that is a number, used as if it were a bit";
    KernelLacks = "P301", "a rule on a field that the chosen kernel does not show to filters";
    TooLong = "P302", "a rule that needs more than the 4096 instructions of a filter";
    Broken = "P303", "an assertion that does not hold: some request shows it";
    Undecided = "P304", "an assertion of which it is not known whether it holds";
    Miscompiled = "P305", "an internal error: a program that does not say what its rule means";
    Contradiction = "P401", "parts of a condition of which one rules the other out";
    Redundant = "P402", "a part of a condition that changes nothing beside another";
    Shadowed = "P403", "a rule of a group whose members all have rules of their own";
    Bypassed = "P404", "an operation that is restricted while another one does the same and is allowed";
    Truncates = "P405", "a rule that refuses to write or to make files, and lets another flag of opening do so";
    Loosens = "P406", "a policy that allows what one that it extends refuses";
    Unused = "P407", "a definition that nothing uses";
    Vacuous = "P408", "an assertion that speaks of no request";
    Unproved = "P409", "a rule whose program could not be proved to be what it says";
}

/// How bad a [`Diagnostic`](super::Diagnostic) is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The policy cannot be used.
    Error,
    /// The policy can be used, but probably does not do what was intended.
    Warning,
}

impl Severity {
    /// The word in front of messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

impl Code {
    /// Whether it is about how a policy is written: what its names mean has no part in it.
    pub(crate) fn is_about_form(self) -> bool {
        let is_of_conditions = (Self::UnexpectedCharacter..=Self::TooDeep).contains(&self);
        is_of_conditions || matches!(self, Self::Toml | Self::Version | Self::UnknownKey | Self::WrongType)
    }

    /// How bad that is.
    pub fn severity(self) -> Severity {
        if self >= Self::Contradiction { Severity::Warning } else { Severity::Error }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
