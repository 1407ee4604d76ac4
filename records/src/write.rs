//! [`Recording`]: a record that is being written.

use crate::columns::SCHEMA;
use crate::error::{Error, Place};
use crate::limits::{BATCH_ROWS, WRITTEN_ROWS};
use crate::metadata::{Metadata, PolicyText};
use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, Int32Array, RecordBatch, TimestampNanosecondArray, UInt8Array, UInt16Array,
    UInt32Array, UInt64Array,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use ringwarden::uapi::Opcode;
use ringwarden_trace::{Item, NO_RULE, Preamble, Request, Verdict};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Columns in which values hardly ever come twice: a dictionary would only take time.
const UNIQUE: [&str; 2] = ["time", "user_data"];

/// A record that is being written. It has its name when it is [finished](Self::finish), and not before: until then it
/// is beside it, under another one. Memory holds one row group.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    partial: PathBuf,
    writer: Option<ArrowWriter<File>>,
    metadata: Metadata,
    rules: Vec<String>,
    rows: Vec<Request>,
}

impl Recording {
    /// Begins one. Nothing must be there yet.
    ///
    /// # Errors
    /// There is, or nothing can be written.
    pub fn create(path: &Path, preamble: &Preamble) -> Result<Self, Error> {
        let at = |reason: &dyn std::fmt::Display| Error::new(path, Place::File, reason);
        if preamble.model != "guard" {
            return Err(at(&format_args!("a trace of the model `{}` cannot be recorded", preamble.model)));
        }
        if fs::symlink_metadata(path).is_ok() {
            return Err(at(&"it is there already"));
        }
        let name = path.file_name().ok_or_else(|| at(&"it is no name of a file"))?;
        let mut beside = name.to_owned();
        beside.push(format!(".{}.part", std::process::id()));
        let partial = path.with_file_name(beside);
        // What programs ask for is nobody else's business.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial);
        let file = file.map_err(|error| at(&error))?;
        let writer =
            ArrowWriter::try_new(file, SCHEMA.clone(), Some(properties())).map_err(|error| at(&error))?;
        let policies = preamble.policies.iter();
        let policies =
            policies.map(|policy| PolicyText { file: policy.file.clone(), text: policy.text.clone() });
        Ok(Self {
            path: path.to_owned(),
            partial,
            writer: Some(writer),
            metadata: Metadata::new(preamble.model.clone(), policies.collect()),
            rules: Vec::new(),
            rows: Vec::with_capacity(BATCH_ROWS),
        })
    }

    /// Adds an item.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add(&mut self, item: Item) -> Result<(), Error> {
        match item {
            Item::Request(request) => {
                self.rows.push(request);
                if self.rows.len() == BATCH_ROWS {
                    self.write()?;
                }
            }
            Item::Rule(rule) => self.rules.push(rule),
            Item::Ring { entries, flags, cq_entries } => self.metadata.ring(entries, flags, cq_entries),
            Item::Register(op) => *self.metadata.register.entry(op).or_default() += 1,
            Item::Lost(count) => self.metadata.lost = self.metadata.lost.saturating_add(count),
        }
        Ok(())
    }

    /// Ends it, and gives it its name; how many requests are in it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self) -> Result<u64, Error> {
        self.write()?;
        let finished = self.end();
        finished.map_err(|reason| Error::new(&self.path, Place::File, reason))
    }

    fn end(&mut self) -> Result<u64, String> {
        let Some(mut writer) = self.writer.take() else { return Ok(0) };
        let told = |error: &dyn std::fmt::Display| error.to_string();
        writer.append_key_value_metadata(self.metadata.to_key_value().map_err(|error| told(&error))?);
        let file = writer.into_inner().map_err(|error| told(&error))?;
        file.sync_all().map_err(|error| told(&error))?;
        // Nor does it take the place of what has come there meanwhile.
        fs::hard_link(&self.partial, &self.path).map_err(|error| told(&error))?;
        Ok(self.metadata.requests)
    }

    fn write(&mut self) -> Result<(), Error> {
        if self.rows.is_empty() {
            return Ok(());
        }
        self.metadata.requests += self.rows.len() as u64;
        let written = self.batch().and_then(|batch| match &mut self.writer {
            Some(writer) => writer.write(&batch).map_err(|error| error.to_string()),
            None => Ok(()),
        });
        self.rows.clear();
        written.map_err(|reason| Error::new(&self.path, Place::File, reason))
    }

    fn batch(&self) -> Result<RecordBatch, String> {
        let rows = &self.rows;
        let [mut programs, mut ops, mut verdicts, mut rules] =
            std::array::from_fn(|_| StringDictionaryBuilder::<Int32Type>::new());
        for row in rows {
            let end = row.program.iter().position(|&byte| byte == 0).unwrap_or(row.program.len());
            programs.append_value(String::from_utf8_lossy(&row.program[..end]));
            ops.append_value(Opcode(opcode(row)).to_string());
            verdicts.append_value(match Verdict::from_number(row.verdict) {
                Some(Verdict::Allow) => "allow",
                Some(Verdict::Permit) => "permit",
                _ => "deny",
            });
            match row.rule.get() {
                NO_RULE => rules.append_null(),
                index => rules.append_value(self.rules.get(index as usize).ok_or("a rule was never named")?),
            }
        }
        let word = |row: &Request, index: usize| row.words[index].get();
        let wide = |low: usize| -> ArrayRef {
            let both = |row| u64::from(word(row, low)) | u64::from(word(row, low + 1)) << 32;
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(both)))
        };
        let narrow = |index: usize| -> ArrayRef {
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| word(row, index))))
        };
        let half = |index: usize, shift: u32| -> ArrayRef {
            Arc::new(UInt16Array::from_iter_values(rows.iter().map(|row| (word(row, index) >> shift) as u16)))
        };
        let signed = |value: fn(&Request) -> i32| -> ArrayRef {
            Arc::new(Int32Array::from_iter_values(rows.iter().map(value)))
        };
        let byte = |value: fn(&Request) -> u8| -> ArrayRef {
            Arc::new(UInt8Array::from_iter_values(rows.iter().map(value)))
        };
        let time = TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| row.time.get() as i64));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(time.with_timezone("UTC")),
            Arc::new(programs.finish()),
            signed(|row| row.pid.get()),
            signed(|row| row.tid.get()),
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.ring.get()))),
            Arc::new(ops.finish()),
            Arc::new(verdicts.finish()),
            Arc::new(rules.finish()),
            Arc::new(rows.iter().map(|row| Some(row.complete == 1)).collect::<BooleanArray>()),
            wide(0),
            byte(opcode),
            byte(|row| row.words[2].get().to_ne_bytes()[1]),
            wide(4),
            wide(6),
            wide(8),
            half(10, 16),
            signed(|row| row.words[11].get() as i32),
            wide(12),
            wide(14),
            narrow(16),
            narrow(17),
            half(20, 0),
            half(20, 16),
            narrow(21),
            wide(22),
            wide(24),
        ];
        RecordBatch::try_new(SCHEMA.clone(), columns).map_err(|error| error.to_string())
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        // After the end of one that was finished there is none.
        let _ = fs::remove_file(&self.partial);
    }
}

fn opcode(row: &Request) -> u8 {
    row.words[2].get().to_ne_bytes()[0]
}

fn properties() -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("ringwarden-records ", env!("CARGO_PKG_VERSION")).into())
        .set_compression(Compression::LZ4_RAW)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(WRITTEN_ROWS));
    for name in UNIQUE {
        let column = ColumnPath::from(name);
        properties = properties.set_column_dictionary_enabled(column.clone(), false);
        properties = properties.set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
    }
    properties.build()
}
