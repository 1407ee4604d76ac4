//! Kernel images: from what distributions ship to what QEMU starts fastest.

use anyhow::{Context, bail, ensure};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Offsets in a bzImage (`Documentation/arch/x86/boot.rst`).
const SETUP_SECTS: usize = 0x1f1;
const MAGIC: usize = 0x202;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

/// How a payload is packed: first bytes, program, Debian package, and whether the kernel's build puts
/// its size behind it.
const PACKINGS: &[(&[u8], &str, &str, bool)] = &[
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd", "zstd", true),
    (&[0x02, 0x21, 0x4c, 0x18], "lz4", "lz4", true),
    (&[0xfd, b'7', b'z', b'X', b'Z'], "xz", "xz-utils", true),
    (&[0x1f, 0x8b], "gzip", "gzip", false),
];

/// Unpacks the ELF file in a bzImage.
pub(crate) fn unpack(bzimage: &Path, elf: &Path) -> anyhow::Result<()> {
    let image = fs::read(bzimage).with_context(|| format!("cannot read {}", bzimage.display()))?;
    let payload = payload(&image).with_context(|| format!("{} is no bzImage", bzimage.display()))?;
    let Some((_, program, package, sized)) = PACKINGS.iter().find(|(magic, ..)| payload.starts_with(magic))
    else {
        bail!("{} is packed in an unknown way: {:02x?}…", bzimage.display(), &payload[..4]);
    };
    let packed = &payload[..payload.len() - if *sized { 4 } else { 0 }];
    let mut child = Command::new(program)
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(File::create(elf)?)
        .spawn()
        .with_context(|| format!("cannot run {program}: it is in Debian's package {package}"))?;
    child.stdin.take().context("no pipe")?.write_all(packed)?;
    ensure!(child.wait()?.success(), "{program} cannot unpack {}", bzimage.display());
    Ok(())
}

fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?) as usize);
    if image.get(MAGIC..MAGIC + 4)? != b"HdrS" {
        return None;
    }
    let setup = (usize::from(image[SETUP_SECTS]) + 1) * 512;
    let start = setup.checked_add(word(PAYLOAD_OFFSET)?)?;
    image.get(start..start.checked_add(word(PAYLOAD_LENGTH)?)?)
}
