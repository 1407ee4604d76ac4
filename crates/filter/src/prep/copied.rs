//! What preparation copied from the submitter's memory.

use ringwarden_uapi::ring::Pointer;

/// What the preparation of one request read, by the field that leads there: paths with their NUL, arguments that
/// filters see (a `struct open_how` as far as the kernel knows it, an address), timespecs, message headers, events of
/// EPOLL_CTL.
///
/// It was judged, or is what the kernel would go by. The memory itself may have changed since.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    addr: Option<Box<[u8]>>,
    off: Option<Box<[u8]>>,
}

impl Copied {
    /// What that field leads to; `None` where preparation reads nothing there.
    pub fn get(&self, pointer: Pointer) -> Option<&[u8]> {
        match pointer {
            Pointer::Addr => self.addr.as_deref(),
            Pointer::Off => self.off.as_deref(),
        }
    }

    pub(super) fn put(&mut self, pointer: Pointer, bytes: Vec<u8>) {
        let place = match pointer {
            Pointer::Addr => &mut self.addr,
            Pointer::Off => &mut self.off,
        };
        *place = Some(bytes.into());
    }
}
