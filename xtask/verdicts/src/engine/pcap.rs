//! libpcap's interpreter of classic BPF, if the machine has it.

#![allow(unsafe_code)]

use ringwarden_cbpf::Insn;
use std::ffi::CStr;

/// `u_int bpf_filter(const struct bpf_insn *, const u_char *, u_int, u_int)`; a `struct bpf_insn` is what [`Insn`] is.
type BpfFilter = unsafe extern "C" fn(*const Insn, *const u8, u32, u32) -> u32;

/// The library, loaded for good.
pub(crate) struct Pcap(BpfFilter);

impl Pcap {
    pub(crate) fn load() -> Option<Self> {
        const LIBRARY: &CStr = c"libpcap.so.0.8";
        const FUNCTION: &CStr = c"bpf_filter";
        // SAFETY: both are strings. Loading the library runs its initialisers, which libpcap's and those of what it
        // needs are made for.
        let function = unsafe {
            let library = libc::dlopen(LIBRARY.as_ptr(), libc::RTLD_NOW);
            if library.is_null() {
                return None;
            }
            libc::dlsym(library, FUNCTION.as_ptr())
        };
        // SAFETY: this is the function's type in libpcap's headers, and nobody unloads it.
        (!function.is_null())
            .then(|| Self(unsafe { std::mem::transmute::<*mut libc::c_void, BpfFilter>(function) }))
    }

    /// The value of a program that the checker has accepted.
    pub(crate) fn run(&self, insns: &[Insn], packet: &[u8]) -> u32 {
        let len = packet.len() as u32;
        // SAFETY: it reads instructions up to a RET, which a checked program always reaches, and of the packet no
        // more than its length.
        unsafe { (self.0)(insns.as_ptr(), packet.as_ptr(), len, len) }
    }
}
