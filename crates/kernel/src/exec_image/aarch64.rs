//! The image's instructions on aarch64.

/// Asks to restrict its own task with no argument, as `registration::is_filtered` does, and exits with
/// the errno.
pub(super) const CODE: [u32; 9] = [
    0x1280_0000, // mov w0, #-1
    0x5280_0161, // mov w1, #IORING_REGISTER_RESTRICTIONS
    0xd280_0002, // mov x2, #0
    0x5280_0003, // mov w3, #0
    0x5280_3568, // mov w8, #SYS_io_uring_register
    0xd400_0001, // svc #0
    0x4b00_03e0, // neg w0, w0
    0x5280_0ba8, // mov w8, #SYS_exit
    0xd400_0001, // svc #0
];
