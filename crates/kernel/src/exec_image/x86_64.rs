//! The image's instructions on x86-64.

/// Asks to restrict its own task with no argument, as `registration::is_filtered` does, and exits with
/// the errno.
pub(super) const CODE: [u8; 31] = [
    0xbf, 0xff, 0xff, 0xff, 0xff, // mov edi, -1
    0xbe, 0x0b, 0x00, 0x00, 0x00, // mov esi, IORING_REGISTER_RESTRICTIONS
    0x31, 0xd2, // xor edx, edx
    0x45, 0x31, 0xd2, // xor r10d, r10d
    0xb8, 0xab, 0x01, 0x00, 0x00, // mov eax, SYS_io_uring_register
    0x0f, 0x05, // syscall
    0xf7, 0xd8, // neg eax
    0x89, 0xc7, // mov edi, eax
    0x6a, 0x3c, // push SYS_exit
    0x58, // pop rax
    0x0f, 0x05, // syscall
];
