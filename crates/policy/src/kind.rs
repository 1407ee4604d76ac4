//! What numbers mean: an address family and a file mode are both numbers, and do not mix.

/// The meaning of a field's or constant's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// An address family, `AF_*`.
    Family,
    /// A socket type without flags, `SOCK_STREAM` and its like.
    SocketType,
    /// The flags given with a socket type, `SOCK_NONBLOCK` and `SOCK_CLOEXEC`.
    SocketFlags,
    /// A protocol of IP sockets, `IPPROTO_*`.
    Protocol,
    /// How to open a file, `O_*`.
    OpenFlags,
    /// The permissions of a new file, `S_I*`.
    Mode,
    /// How OPENAT2 walks the path, `RESOLVE_*`.
    Resolve,
    /// The flags of a request, `IOSQE_*`.
    SqeFlags,
    /// A port; it has no named constants.
    Port,
    /// The number that comes back with the completion; it has no named constants.
    UserData,
    /// An IPv4 or IPv6 address; its constants are addresses and networks.
    Address,
}

impl Kind {
    /// One constant of the kind, with its article, for sentences.
    pub fn one(self) -> &'static str {
        match self {
            Self::Family => "an address family",
            Self::SocketType => "a socket type",
            Self::SocketFlags => "a flag of socket types",
            Self::Protocol => "a protocol",
            Self::OpenFlags => "an open flag",
            Self::Mode => "a file mode",
            Self::Resolve => "a resolve flag",
            Self::SqeFlags => "a request flag",
            Self::Port => "a port",
            Self::UserData => "user data",
            Self::Address => "an address",
        }
    }

    /// What a field of the kind holds, for sentences.
    pub fn noun(self) -> &'static str {
        match self {
            Self::SocketFlags => "flags of socket types",
            Self::OpenFlags => "open flags",
            Self::Resolve => "resolve flags",
            Self::SqeFlags => "request flags",
            _ => self.one(),
        }
    }

    /// What its constants look like, for people; `None` where there are only numbers.
    pub fn constants(self) -> Option<&'static str> {
        match self {
            Self::Family => Some("AF_*"),
            Self::SocketType => Some("SOCK_STREAM, SOCK_DGRAM, ..."),
            Self::SocketFlags => Some("SOCK_NONBLOCK, SOCK_CLOEXEC"),
            Self::Protocol => Some("IPPROTO_*"),
            Self::OpenFlags => Some("O_*"),
            Self::Mode => Some("S_I*"),
            Self::Resolve => Some("RESOLVE_*"),
            Self::SqeFlags => Some("IOSQE_*"),
            Self::Port | Self::UserData | Self::Address => None,
        }
    }

    /// Whether the named constants are plain numbers, whose single bits mean nothing:
    /// `AF_INET & AF_INET6` is not zero.
    pub(crate) fn is_enumeration(self) -> bool {
        matches!(self, Self::Family | Self::SocketType | Self::Protocol)
    }
}
