//! Looking into the program, and acting in it: what `/proc` and the kernel say of its threads, its memory, its
//! credentials, and system calls in its place.

#[allow(unsafe_code)] // ids of one thread
pub(crate) mod credentials;
pub(crate) mod frozen;
#[allow(unsafe_code)] // ptrace
pub(crate) mod inject;
#[allow(unsafe_code)] // PROCMAP_QUERY
pub(crate) mod maps;
#[allow(unsafe_code)] // process_vm_readv and process_vm_writev
pub(crate) mod memory;
#[allow(unsafe_code)] // PIDFD_GET_INFO
pub(crate) mod pidfd_info;
pub(crate) mod proc;
pub(crate) mod profile;
pub(crate) mod traced;
