//! [`RuleOrigin`]: where a rule is written.

/// Where a rule is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RuleOrigin {
    /// The file, as it was named to [`Policy::parse`](crate::Policy::parse).
    pub file: String,
    /// The line of the key, from 1.
    pub line: usize,
    /// The column of the key, from 1, in characters.
    pub column: usize,
    /// The key: an operation, a group with its `@`, `default`, `require` of `[all]`; or a key of
    /// `[setup]` or `[register]` with its table, such as `register.default`.
    pub key: String,
    /// The value: `allow`, `deny` or an expression; of the lists of `[register]` the name that decides.
    pub text: String,
}
