//! [`FieldValue`]: what a field of a request may be.

use std::net::IpAddr;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldValue {
    /// A number within [`Field::bits`](crate::Field::bits).
    Number(u64),
    /// An address, of a field of [`Kind::Address`](crate::Kind::Address).
    Address(IpAddr),
}
