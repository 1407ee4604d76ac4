//! Trees as policy text, with as few brackets as Rust's precedence allows, so that the parser has
//! to know it too.

use super::tree::{Bool, Num};
use std::fmt;

impl fmt::Display for Num {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bracketed = |f: &mut fmt::Formatter<'_>, inner: &Num, least: u8| match inner.tightness() < least {
            true => write!(f, "({inner})"),
            false => write!(f, "{inner}"),
        };
        match self {
            Self::Field(field) => f.write_str(field.name),
            Self::Literal(value) if *value % 3 == 0 => write!(f, "{value:#x}"),
            Self::Literal(value) => write!(f, "{value}"),
            Self::Complement(inner) => {
                f.write_str("~")?;
                bracketed(f, inner, 6)
            }
            Self::Binary(op, left, right) => {
                bracketed(f, left, self.tightness())?;
                write!(f, " {op} ")?;
                bracketed(f, right, self.tightness() + 1)
            }
        }
    }
}

impl fmt::Display for Bool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |f: &mut fmt::Formatter<'_>, parts: &[Bool], symbol: &str| {
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    write!(f, " {symbol} ")?;
                }
                if part.tightness() <= self.tightness() {
                    write!(f, "({part})")?
                } else {
                    write!(f, "{part}")?
                }
            }
            Ok(())
        };
        match self {
            Self::Compare(op, left, right) => write!(f, "{left} {op} {right}"),
            Self::Within(num, ranges) => {
                write!(f, "{num} in {{")?;
                for (index, (first, last)) in ranges.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    if first == last {
                        write!(f, "{comma}{first}")?
                    } else {
                        write!(f, "{comma}{first}..={last}")?
                    }
                }
                f.write_str("}")
            }
            Self::Truthy(num) => write!(f, "{num}"),
            Self::Address(networks) => match networks[..] {
                [single] if !single.contains('/') => write!(f, "addr == {single}"),
                _ => write!(f, "addr in {{{}}}", networks.join(", ")),
            },
            Self::Not(inner) if inner.tightness() < 10 => write!(f, "!({inner})"),
            Self::Not(inner) => write!(f, "!{inner}"),
            Self::All(parts) => join(f, parts, "&&"),
            Self::Any(parts) => join(f, parts, "||"),
        }
    }
}
