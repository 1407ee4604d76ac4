//! Releases of Linux, by their numbers.

use std::fmt;
use std::str::FromStr;

/// A release: `6.12.44`; `6.12` is the first of its series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    version: u16,
    patchlevel: u16,
    sublevel: u16,
}

impl Release {
    /// The series that it belongs to, by the first of it: 6.12 of 6.12.44.
    pub fn series(self) -> Self {
        Self { sublevel: 0, ..self }
    }
}

/// What is no release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a release of Linux, such as 6.12, 6.12.44 or what `uname -r` prints")]
pub struct UnknownRelease(String);

impl FromStr for Release {
    type Err = UnknownRelease;

    /// Reads what `uname -r` prints: what a distribution adds to the number does not count.
    fn from_str(text: &str) -> Result<Self, UnknownRelease> {
        let unknown = || UnknownRelease(text.to_owned());
        let number = text.split(['-', '+', '_', '~']).next().unwrap_or_default();
        let mut parts = number.split('.').map(|part| match part.bytes().all(|byte| byte.is_ascii_digit()) {
            true => part.parse::<u16>().map_err(|_| unknown()),
            false => Err(unknown()),
        });
        let mut next = || parts.next().transpose();
        let (version, patchlevel, sublevel) = (next()?, next()?, next()?);
        // Distributions number further: 6.8.0.31.
        match (version, patchlevel) {
            (Some(version), Some(patchlevel)) => {
                Ok(Self { version, patchlevel, sublevel: sublevel.unwrap_or(0) })
            }
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.version, self.patchlevel)?;
        match self.sublevel {
            0 => Ok(()),
            sublevel => write!(f, ".{sublevel}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn releases_are_read_as_uname_prints_them() {
        for (text, release) in [
            ("6.12", "6.12"),
            ("6.12.44", "6.12.44"),
            ("6.12.0-rc3", "6.12"),
            ("6.8.0-31-generic", "6.8"),
            ("5.10.0.3+deb11", "5.10"),
            ("7.2.13-x86_64", "7.2.13"),
        ] {
            assert_eq!(
                text.parse::<Release>().map(|read| read.to_string()),
                Ok(release.to_owned()),
                "{text}"
            );
        }
        for text in ["", "6", "six", "6.", ".12", "6.x", "6.12.x", "99999.1", "-6.1", "v6.1", "6.+1"] {
            let error = text.parse::<Release>().expect_err(text).to_string();
            assert!(error.starts_with(&format!("`{text}` is not a release")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn releases_are_ordered_as_their_numbers(one: [u8; 3], other: [u8; 3]) {
            let release = |[a, b, c]: [u8; 3]| format!("{a}.{b}.{c}").parse::<Release>().expect("a release");
            prop_assert_eq!(release(one).cmp(&release(other)), one.cmp(&other));
            prop_assert_eq!(release(one).to_string().parse(), Ok(release(one)));
        }

        #[test]
        fn whatever_is_written_is_read_or_refused(text: String) {
            let _ = text.parse::<Release>();
        }
    }
}
