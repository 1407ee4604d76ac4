//! The columns of a record, and where in them the words of a context are.
//!
//! | column | type | what it is |
//! |---|---|---|
//! | `time` | timestamp, ns, UTC | when it was judged |
//! | `program` | text | the thread's name |
//! | `pid`, `tid` | int32 | process and thread, in the recorder's pid namespace |
//! | `ring` | uint64 | a number for each ring of the recording; 0 where it is not known |
//! | `op`, `opcode` | text, uint8 | the operation |
//! | `verdict` | text | `allow`, `deny`, or `permit` where the rules refuse and nothing was enforced |
//! | `rule` | text or null | the rule that refuses |
//! | `complete` | bool | whether all that filters see is known |
//! | `flags` | uint8 | `IOSQE_*` as filters see them |
//! | `ioprio` … `pad2` | | the fields of `struct io_uring_sqe` that the payload does not show |
//! | `payload0` … `payload2` | uint64 | the payload, eight bytes each |
//!
//! Together, from `opcode` and `flags` on, they are the 26 words of `KernelModel::Guard`.

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::{Arc, LazyLock};

/// The columns that the words of a context are made of, in the order of [`Words`](crate::Words).
pub const SHOWN: [(&str, DataType); 17] = [
    ("user_data", DataType::UInt64),
    ("opcode", DataType::UInt8),
    ("flags", DataType::UInt8),
    ("payload0", DataType::UInt64),
    ("payload1", DataType::UInt64),
    ("payload2", DataType::UInt64),
    ("ioprio", DataType::UInt16),
    ("fd", DataType::Int32),
    ("off", DataType::UInt64),
    ("addr", DataType::UInt64),
    ("len", DataType::UInt32),
    ("op_flags", DataType::UInt32),
    ("buf_index", DataType::UInt16),
    ("personality", DataType::UInt16),
    ("file_index", DataType::UInt32),
    ("addr3", DataType::UInt64),
    ("pad2", DataType::UInt64),
];

/// For each word of a context, its columns as indices of [`SHOWN`]; words that are always zero have none.
pub(crate) const OF_WORD: [&[usize]; ringwarden_trace::WORDS] = [
    &[0],
    &[0],
    &[1, 2],
    &[],
    &[3],
    &[3],
    &[4],
    &[4],
    &[5],
    &[5],
    &[6],
    &[7],
    &[8],
    &[8],
    &[9],
    &[9],
    &[10],
    &[11],
    &[],
    &[],
    &[12, 13],
    &[14],
    &[15],
    &[15],
    &[16],
    &[16],
];

/// Texts that many rows share.
fn dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// The schema of a record.
pub static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let field = |name: &str, kind: DataType| Field::new(name, kind, false);
    let mut fields = vec![
        field("time", DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))),
        field("program", dictionary()),
        field("pid", DataType::Int32),
        field("tid", DataType::Int32),
        field("ring", DataType::UInt64),
        field("op", dictionary()),
        field("verdict", dictionary()),
        Field::new("rule", dictionary(), true),
        field("complete", DataType::Boolean),
    ];
    fields.extend(SHOWN.iter().map(|(name, kind)| field(name, kind.clone())));
    Arc::new(Schema::new(fields))
});
