//! Records of the tracepoints.

use crate::format::{Field, Format};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::ring::SqeFlags;

/// `-EACCES`, what restrictions and filters give.
pub(crate) const REFUSED: i32 = -13;

/// A refused request, as far as the tracepoint tells. What a kernel's version of it lacks is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusedRequest {
    /// The operation.
    pub opcode: Opcode,
    /// `sqe->flags`.
    pub flags: SqeFlags,
    /// `sqe->user_data`.
    pub user_data: u64,
    /// `sqe->off`, or what an operation has in its place.
    pub off: Option<u64>,
    /// `sqe->addr`, likewise.
    pub addr: Option<u64>,
    /// `sqe->len`, likewise.
    pub len: Option<u32>,
    /// The operation's flags, `sqe->rw_flags` and its other names.
    pub op_flags: Option<u32>,
}

/// A request that is allowed, as far as the tracepoint tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AllowedRequest {
    /// The operation.
    pub opcode: Opcode,
    /// The flags as filters see them: with those that the kernel has added to `sqe->flags`.
    pub flags: SqeFlags,
    /// `sqe->user_data`.
    pub user_data: u64,
}

/// Where in a record of a request that is taken the fields are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TakenLayout {
    opcode: Field,
    flags: Field,
    user_data: Field,
}

impl TakenLayout {
    /// # Errors
    /// A field is missing, or is not a number of a size that it has in some kernel.
    pub(crate) fn of(format: &Format) -> Result<Self, &'static str> {
        let field = |name, sizes: &[usize]| format.field(name).filter(|field| sizes.contains(&field.size));
        Ok(Self {
            opcode: field("opcode", &[1]).ok_or("it has no opcode")?,
            // Of 32 bits in older kernels, as 6.1 (include/trace/events/io_uring.h).
            flags: field("flags", &[4, 8]).ok_or("it has no flags")?,
            user_data: field("user_data", &[8]).ok_or("it has no user_data")?,
        })
    }

    /// The request of a record; `None` when it is too short.
    pub(crate) fn decode(&self, record: &[u8]) -> Option<AllowedRequest> {
        // The kernel's own flags follow behind the first byte (`REQ_F_FIXED_FILE_BIT` and others in
        // include/linux/io_uring_types.h), of which filters see `SQE_VALID_FLAGS` (io_uring/bpf_filter.c of 7.0).
        let flags = number(record, self.flags)? as u8;
        Some(AllowedRequest {
            opcode: Opcode(number(record, self.opcode)? as u8),
            flags: SqeFlags::from_bits_truncate(flags),
            user_data: number(record, self.user_data)?,
        })
    }
}

/// Where in a record of a failed request the fields are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    opcode: Field,
    flags: Field,
    user_data: Field,
    error: Field,
    off: Option<Field>,
    addr: Option<Field>,
    len: Option<Field>,
    op_flags: Option<Field>,
}

impl Layout {
    /// # Errors
    /// What cannot be done without is missing, or is not a number of the size that it has in all kernels.
    pub(crate) fn of(format: &Format) -> Result<Self, &'static str> {
        let field = |name, size| format.field(name).filter(|field| field.size == size);
        Ok(Self {
            opcode: field("opcode", 1).ok_or("it has no opcode")?,
            flags: field("flags", 1).ok_or("it has no flags")?,
            user_data: field("user_data", 8).ok_or("it has no user_data")?,
            error: field("error", 4).ok_or("it has no error")?,
            off: field("off", 8),
            addr: field("addr", 8),
            len: field("len", 4),
            op_flags: field("op_flags", 4),
        })
    }

    /// The request of a record; `None` when it is too short, or when it has failed for another reason.
    pub(crate) fn decode(&self, record: &[u8]) -> Option<RefusedRequest> {
        if number(record, self.error)? as u32 as i32 != REFUSED {
            return None;
        }
        let maybe = |field: Option<Field>| field.and_then(|field| number(record, field));
        Some(RefusedRequest {
            opcode: Opcode(number(record, self.opcode)? as u8),
            flags: SqeFlags::from_bits_retain(number(record, self.flags)? as u8),
            user_data: number(record, self.user_data)?,
            off: maybe(self.off),
            addr: maybe(self.addr),
            len: maybe(self.len).map(|len| len as u32),
            op_flags: maybe(self.op_flags).map(|flags| flags as u32),
        })
    }
}

/// The number in a field of at most eight bytes.
fn number(record: &[u8], field: Field) -> Option<u64> {
    let bytes = record.get(field.offset..field.offset.checked_add(field.size)?)?;
    let mut number = [0; 8];
    let place = if cfg!(target_endian = "big") {
        number.get_mut(8usize.checked_sub(bytes.len())?..)
    } else {
        number.get_mut(..bytes.len())
    };
    place?.copy_from_slice(bytes);
    Some(u64::from_ne_bytes(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::{LINUX_6_18, TAKEN_6_1, TAKEN_6_18};
    use proptest::prelude::*;

    fn layout() -> Layout {
        Layout::of(&Format::parse(LINUX_6_18).expect("a format")).expect("a layout")
    }

    fn record(error: i32) -> Vec<u8> {
        let mut record = vec![0; 104];
        record[24..32].copy_from_slice(&7u64.to_ne_bytes());
        record[32] = Opcode::READ.0;
        record[33] = SqeFlags::IO_LINK.bits();
        record[56..60].copy_from_slice(&512u32.to_ne_bytes());
        record[88..92].copy_from_slice(&error.to_ne_bytes());
        record
    }

    #[test]
    fn a_refused_request_is_told_field_by_field() {
        let refused = layout().decode(&record(REFUSED)).expect("refused");
        assert_eq!((refused.opcode, refused.flags), (Opcode::READ, SqeFlags::IO_LINK));
        assert_eq!((refused.user_data, refused.len, refused.off), (7, Some(512), Some(0)));
    }

    #[test]
    fn what_fails_for_another_reason_is_none_nor_is_half_a_record() {
        assert_eq!(layout().decode(&record(-22)), None);
        assert_eq!(layout().decode(&record(REFUSED)[..90]), None);
    }

    #[test]
    fn an_allowed_request_has_the_flags_that_filters_see_in_every_kernel() {
        for (text, flags) in [(TAKEN_6_18, 40), (TAKEN_6_1, 36)] {
            let layout = TakenLayout::of(&Format::parse(text).expect("a format")).expect("a layout");
            let mut record = vec![0; 56];
            record[24..32].copy_from_slice(&7u64.to_ne_bytes());
            record[32] = Opcode::FSYNC.0;
            // REQ_F_FAIL is the first flag of the kernel's own.
            let all = u32::from((SqeFlags::IO_LINK | SqeFlags::ASYNC).bits()) | 1 << 8;
            if text == TAKEN_6_18 {
                record[flags..flags + 8].copy_from_slice(&u64::from(all).to_ne_bytes());
            } else {
                record[flags..flags + 4].copy_from_slice(&all.to_ne_bytes());
            }
            let allowed = layout.decode(&record).expect("a request");
            assert_eq!((allowed.opcode, allowed.user_data), (Opcode::FSYNC, 7));
            assert_eq!(allowed.flags, SqeFlags::IO_LINK | SqeFlags::ASYNC);
            assert_eq!(layout.decode(&record[..32]), None);
        }
        let refused = Format::parse(LINUX_6_18).expect("a format");
        assert_eq!(TakenLayout::of(&refused).err(), Some("it has no flags"), "they are one byte there");
    }

    #[test]
    fn a_kernel_may_lack_some_fields_but_not_all() {
        let without = |name: &str| {
            let lines = LINUX_6_18.lines().filter(|line| !line.contains(&format!(" {name};")));
            Layout::of(&Format::parse(&lines.collect::<Vec<_>>().join("\n")).expect("a format"))
        };
        let layout = without("len").expect("a layout");
        assert_eq!(layout.decode(&record(REFUSED)).expect("refused").len, None);
        assert_eq!(without("error").err(), Some("it has no error"));
        assert_eq!(without("opcode").err(), Some("it has no opcode"));
    }

    proptest! {
        #[test]
        fn no_record_is_too_strange(
            bytes in proptest::collection::vec(any::<u8>(), 0..128),
            offset in prop_oneof![0usize..128, Just(usize::MAX), Just(usize::MAX - 3)],
            size in prop_oneof![0usize..16, Just(usize::MAX)],
        ) {
            let field = Field { offset, size };
            if let Some(number) = number(&bytes, field) {
                prop_assert!(size <= 8 && offset + size <= bytes.len() && (size == 8 || number >> (8 * size) == 0));
            }
            let _ = Layout { opcode: field, off: Some(field), ..layout() }.decode(&bytes);
            let _ = TakenLayout { opcode: field, flags: field, user_data: field }.decode(&bytes);
        }
    }
}
