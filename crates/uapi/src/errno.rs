//! Error numbers by name, without a C library.

use core::fmt;

/// A positive error number, as the kernel puts it, negated, into a return value or `cqe.res`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Errno(pub u16);

macro_rules! errnos {
    ($($name:ident = $number:literal;)*) => {
        impl Errno {
            $(#[doc = concat!("`", stringify!($name), "`, ", $number, ".")]
            pub const $name: Self = Self($number);)*
        }
        const NAMES: &[(Errno, &str)] = &[$((Errno::$name, stringify!($name)),)*];
    };
}

// `include/uapi/asm-generic/errno{,-base}.h`: those that io_uring itself answers with.
errnos! {
    EPERM = 1;
    ENOENT = 2;
    EINTR = 4;
    EIO = 5;
    ENXIO = 6;
    E2BIG = 7;
    EBADF = 9;
    EAGAIN = 11;
    ENOMEM = 12;
    EACCES = 13;
    EFAULT = 14;
    EBUSY = 16;
    EEXIST = 17;
    EINVAL = 22;
    ENAMETOOLONG = 36;
    ENOSYS = 38;
    ETIME = 62;
    EOVERFLOW = 75;
    EBADFD = 77;
    EMSGSIZE = 90;
    EPROTONOSUPPORT = 93;
    EOPNOTSUPP = 95;
    EAFNOSUPPORT = 97;
    ECANCELED = 125;
}

impl Errno {
    /// The error number of that upper-case name, of those this module lists.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, n)| *n == name).map(|(errno, _)| *errno)
    }

    /// Its upper-case name, or `None` for one that this module does not list.
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|(errno, _)| *errno == self).map(|(_, name)| *name)
    }

    /// The negative number that a system call returns and `cqe.res` carries.
    pub const fn negated(self) -> i32 {
        -(self.0 as i32)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_and_agree_with_the_c_library() {
        for &(errno, name) in NAMES {
            assert_eq!(Errno::from_name(name), Some(errno));
            assert_eq!(errno.to_string(), name);
        }
        assert_eq!(i32::from(Errno::EACCES.0), libc::EACCES);
        assert_eq!(i32::from(Errno::EMSGSIZE.0), libc::EMSGSIZE);
        assert_eq!(i32::from(Errno::EBADFD.0), libc::EBADFD);
        assert_eq!(Errno::ECANCELED.negated(), -125);
        assert_eq!(Errno(4000).to_string(), "errno 4000");
    }
}
