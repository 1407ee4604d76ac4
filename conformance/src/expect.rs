//! What a step is expected to give, for one kernel or another.

use crate::{Kernels, Malformed};
use ringwarden_uapi::{Errno, KernelModel};
use std::fmt;

/// What a call returns or a CQE carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Res {
    /// That value.
    Value(i32),
    /// The request ran, whatever came of it: anything but EACCES.
    Ran,
    /// These 32 bits, which are no number with a sign.
    Word(u32),
    /// The kernel does not know the call: EINVAL, or EBADF for a task (before Linux 6.13 there is no
    /// register call without a descriptor).
    Unknown,
}

/// What a step gives: the value it returns and, where completions are part of it, those in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// What the call returns.
    pub returns: Res,
    /// The `user_data` and result of each completion posted, oldest first; `None` if the step does
    /// not wait for any.
    pub cqes: Option<Vec<(u64, Res)>>,
}

/// The same for every kernel but those named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected<T> {
    usual: T,
    elsewhere: Option<(Kernels, T)>,
}

impl Res {
    /// Whether `value` is what is expected.
    pub fn matches(self, value: i32) -> bool {
        match self {
            Self::Value(expected) => expected == value,
            Self::Ran => value != Errno::EACCES.negated(),
            Self::Word(word) => word == value as u32,
            Self::Unknown => [Errno::EINVAL, Errno::EBADF].map(Errno::negated).contains(&value),
        }
    }

    /// A value as it would be written where this is expected.
    pub fn show(self, value: i32) -> String {
        match self {
            Self::Word(_) => Self::Word(value as u32).to_string(),
            _ => Self::Value(value).to_string(),
        }
    }

    fn parse(text: &str) -> Result<Self, Malformed> {
        if text == "ran" {
            return Ok(Self::Ran);
        }
        let errno = || Errno::from_name(text).map(Errno::negated);
        let value = text.parse().ok().or_else(errno);
        value.map(Self::Value).ok_or_else(|| Malformed::new("a number, an errno's name or `ran`", text))
    }
}

impl Expect {
    pub(crate) const fn returns(returns: Res) -> Self {
        Self { returns, cqes: None }
    }

    /// `EACCES`; `3: 1=EACCES 2=0`; `2:` for no completions.
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        let (returns, cqes) = match text.split_once(':') {
            Some((returns, cqes)) => (returns, Some(cqes)),
            None => (text, None),
        };
        let cqes = cqes.map(|cqes| cqes.split_whitespace().map(cqe).collect()).transpose()?;
        Ok(Self { returns: Res::parse(returns.trim())?, cqes })
    }
}

impl<T> Expected<T> {
    /// What follows the arrow of a step: `EACCES`, or `0 (until 7.2: EACCES)`.
    pub(crate) fn parse(
        text: &str,
        result: impl Fn(&str) -> Result<T, Malformed>,
    ) -> Result<Self, Malformed> {
        let Some((usual, rest)) = text.split_once('(') else {
            return Ok(Self { usual: result(text.trim())?, elsewhere: None });
        };
        let malformed = || Malformed::new("(until KERNEL: RESULT)", rest);
        let (kernels, other) =
            rest.trim_end().strip_suffix(')').and_then(|rest| rest.split_once(':')).ok_or_else(malformed)?;
        let until = kernels.trim().strip_prefix("until ").ok_or_else(malformed)?;
        let until = until.parse().map_err(|_| malformed())?;
        let kernels = Kernels { since: KernelModel::Posted, until: Some(until) };
        let elsewhere = Some((kernels, result(other.trim())?));
        Ok(Self { usual: result(usual.trim())?, elsewhere })
    }

    pub(crate) fn of(&self, model: KernelModel) -> &T {
        match &self.elsewhere {
            Some((kernels, expect)) if kernels.include(model) => expect,
            _ => &self.usual,
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.returns)?;
        for (index, (user_data, res)) in self.cqes.iter().flatten().enumerate() {
            write!(f, "{} {user_data}={res}", if index == 0 { ":" } else { "" })?;
        }
        Ok(())
    }
}

fn cqe(text: &str) -> Result<(u64, Res), Malformed> {
    let malformed = || Malformed::new("USER_DATA=RESULT", text);
    let (user_data, res) = text.split_once('=').ok_or_else(malformed)?;
    Ok((user_data.parse().map_err(|_| malformed())?, Res::parse(res)?))
}

impl fmt::Display for Res {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Ran => f.write_str("ran"),
            Self::Word(word) => write!(f, "{word:#x}"),
            Self::Unknown => f.write_str("EINVAL or EBADF"),
            Self::Value(value @ ..0) => match u16::try_from(value.unsigned_abs()) {
                Ok(errno) => write!(f, "{}", Errno(errno)),
                Err(_) => write!(f, "{value}"),
            },
            Self::Value(value) => write!(f, "{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_may_differ() {
        let expected = Expected::parse("0 (until 7.2: EACCES)", Expect::parse).unwrap();
        assert_eq!(expected.of(KernelModel::V7_2).returns, Res::Value(-13));
        assert_eq!(expected.of(KernelModel::V7_3).returns, Res::Value(0));
    }

    #[test]
    fn completions_are_optional_and_may_be_none() {
        let parse = |text| Expect::parse(text).unwrap();
        assert_eq!(parse("2: 1=EACCES 2=ran").cqes, Some(vec![(1, Res::Value(-13)), (2, Res::Ran)]));
        assert_eq!(parse("2:").cqes, Some(vec![]));
        assert_eq!(parse("2").cqes, None);
    }
}
