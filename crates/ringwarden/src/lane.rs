//! The lanes: who enforces policies, and how.

use std::fmt;
use std::str::FromStr;

/// Who enforces a policy. The order is that in which [`Choice`](crate::Choice) tries them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// The kernel's own filters, put on the program before it starts: Linux 7.0 and later.
    Tasks,
    /// Rings made for the program and restricted by the kernel: whole operations, Linux 5.10 and later.
    Restricted,
    /// Rings made for the program, with the kernel's own filters: any policy, Linux 7.0 and later.
    Filtered,
    /// A guard that looks at each request before the kernel sees it: any policy, Linux 6.10 and later, x86-64.
    Split,
}

impl Lane {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::Tasks, Self::Restricted, Self::Filtered, Self::Split];

    /// Its name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tasks => "tasks",
            Self::Restricted => "restricted",
            Self::Filtered => "filtered",
            Self::Split => "split",
        }
    }

    /// Whether a process beside the program makes its rings.
    pub const fn is_supervised(self) -> bool {
        !matches!(self, Self::Tasks)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No lane has that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no lane `{0}`: they are tasks, restricted, filtered and split")]
pub struct UnknownLane(String);

impl FromStr for Lane {
    type Err = UnknownLane;

    fn from_str(name: &str) -> Result<Self, UnknownLane> {
        let lane = Self::ALL.into_iter().find(|lane| lane.name() == name);
        lane.ok_or_else(|| UnknownLane(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_has_one_name() {
        for lane in Lane::ALL {
            assert_eq!(lane.to_string().parse(), Ok(lane));
        }
        assert_eq!("Tasks".parse::<Lane>(), Err(UnknownLane("Tasks".to_owned())));
    }
}
