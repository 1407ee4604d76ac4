//! The headers of pages, read for one reason: how much memory a page takes.
//!
//! The reader of Parquet takes as much as a page's header claims, which may be 2 GiB where a file has some bytes. So
//! headers are looked at first. They are structs of Thrift's compact protocol (its specification, and `parquet.thrift`
//! of the format): field 1 is the kind, 2 the size uncompressed, 3 the size in the file; what else there is, is skipped.

use crate::limits::MOST_PAGE;

/// The most bytes of a header: statistics, of which those of texts may be long.
const LONGEST_HEADER: u64 = 64 << 10;
/// How deep structs may be within each other.
const DEEPEST: u32 = 8;

/// Checks that the pages between two places of a file take no more memory than is allowed, and fill them. `read` fills a
/// buffer with what is at a place.
///
/// # Errors
/// Where a page is that does not, and why.
pub(crate) fn check(
    read: impl Fn(u64, &mut [u8]) -> Option<()>,
    begin: u64,
    end: u64,
) -> Result<(), (u64, String)> {
    let mut at = begin;
    // Most are shorter.
    let mut buffer = Vec::new();
    while at < end {
        let header = [256, LONGEST_HEADER].into_iter().find_map(|most| {
            buffer.resize(most.min(end - at) as usize, 0);
            read(at, &mut buffer)?;
            header(&buffer)
        });
        let Some((length, uncompressed, compressed)) = header else {
            return Err((at, "the header of a page is wrong".into()));
        };
        if !(0..=MOST_PAGE).contains(&uncompressed) || !(0..=MOST_PAGE).contains(&compressed) {
            let reason = format!(
                "a page claims {uncompressed} bytes, {compressed} in the file, and may have {MOST_PAGE}"
            );
            return Err((at, reason));
        }
        at += length as u64 + compressed as u64;
    }
    if at == end { Ok(()) } else { Err((at, "a page goes beyond its column".into())) }
}

/// Reads bytes that are at a place of a file.
pub(crate) fn from(bytes: &[u8], begin: u64) -> impl Fn(u64, &mut [u8]) -> Option<()> {
    move |at, buffer| {
        let at = usize::try_from(at.checked_sub(begin)?).ok()?;
        buffer.copy_from_slice(bytes.get(at..at.checked_add(buffer.len())?)?);
        Some(())
    }
}

/// How long the header is, and the sizes in it.
fn header(bytes: &[u8]) -> Option<(usize, i32, i32)> {
    let mut reader = Compact { bytes, at: 0 };
    let (mut uncompressed, mut compressed) = (None, None);
    let mut id = 0;
    while let Some(kind) = reader.field(&mut id)? {
        match (id, kind) {
            (2, 5) => uncompressed = Some(reader.zigzag()?),
            (3, 5) => compressed = Some(reader.zigzag()?),
            _ => reader.skip(kind, 0)?,
        }
    }
    let size = |size: Option<i64>| i32::try_from(size?).ok();
    Some((reader.at, size(uncompressed)?, size(compressed)?))
}

/// Thrift's compact protocol.
struct Compact<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Compact<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let number = self.varint()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// The type of the next field, whose number is put into `id`; `Some(None)` at the end of the struct.
    fn field(&mut self, id: &mut i64) -> Option<Option<u8>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        *id = match byte >> 4 {
            0 => self.zigzag()?,
            more => id.checked_add(more.into())?,
        };
        Some(Some(byte & 0xf))
    }

    fn skip(&mut self, kind: u8, depth: u32) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        match kind {
            // Booleans are in their type.
            1 | 2 => {}
            3 => drop(self.byte()?),
            4..=6 => drop(self.varint()?),
            7 => self.pass(8)?,
            8 => {
                let length = self.varint()?;
                self.pass(length)?;
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.varint()? } else { (head >> 4).into() };
                for _ in 0..count {
                    // Within a list a boolean is a byte.
                    match head & 0xf {
                        1 | 2 => drop(self.byte()?),
                        kind => self.skip(kind, depth + 1)?,
                    }
                }
            }
            12 => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.skip(kind, depth + 1)?;
                }
            }
            // Headers have no maps.
            _ => return None,
        }
        Some(())
    }

    fn pass(&mut self, count: u64) -> Option<()> {
        self.at = self.at.checked_add(usize::try_from(count).ok()?).filter(|&at| at <= self.bytes.len())?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A header of a data page: kind 0, 300 bytes of which 100 are in the file, and a struct with 10 values.
    const HEADER: [u8; 14] =
        [0x15, 0x00, 0x15, 0xd8, 0x04, 0x15, 0xc8, 0x01, 0x2c, 0x15, 0x14, 0x12, 0x00, 0x00];

    #[test]
    fn sizes_are_found_and_the_rest_is_skipped() {
        assert_eq!(header(&HEADER), Some((HEADER.len(), 300, 100)));
        assert!((0..HEADER.len()).all(|end| header(&HEADER[..end]).is_none()));
    }

    /// A page of two sizes, in a file with so many bytes behind its header.
    fn checked(uncompressed: u64, compressed: u64, bytes: usize) -> Result<(), (u64, String)> {
        let varint = |number: u64| {
            let number = number << 1;
            let bytes = (0..5).map(move |at| (number >> (7 * at)) as u8 & 0x7f | u8::from(at < 4) << 7);
            bytes.collect::<Vec<_>>()
        };
        let header =
            [&[0x15, 0, 0x15][..], &varint(uncompressed), &[0x15], &varint(compressed), &[0]].concat();
        let content = [&[7; 4][..], &header, &vec![0; bytes]].concat();
        check(from(&content, 0), 4, content.len() as u64)
    }

    #[test]
    fn a_page_that_claims_more_than_is_allowed_is_refused() {
        assert_eq!(checked(5000, 100, 100), Ok(()));
        let (at, reason) = checked(i32::MAX as u64, 100, 100).unwrap_err();
        assert!(at == 4 && reason.starts_with("a page claims 2147483647 bytes, 100 in the file"), "{reason}");
        let (_, reason) = checked(5001, 100, 99).unwrap_err();
        assert_eq!(reason, "a page goes beyond its column");
    }

    proptest! {
        #[test]
        fn no_header_is_too_strange(noise in any::<Vec<u8>>(), at in 0..HEADER.len(), with in any::<u8>()) {
            let mut bytes = HEADER;
            bytes[at] = with;
            for bytes in [&noise[..], &bytes] {
                prop_assert!(header(bytes).is_none_or(|(length, ..)| length <= bytes.len()));
            }
        }
    }
}
