//! The description of a tracepoint, as tracefs has it (`events/SYSTEM/NAME/format`).

/// One field of a tracepoint's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) offset: usize,
    /// In bytes.
    pub(crate) size: usize,
}

/// What a `format` file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// The event's number for `perf_event_open(2)`.
    pub(crate) id: u64,
    fields: Vec<(String, Field)>,
}

impl Format {
    /// # Errors
    /// What is missing or makes no sense. Lines of kinds that are not known are left out.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (mut id, mut fields) = (None, Vec::new());
        for line in text.lines().map(str::trim) {
            if let Some(number) = line.strip_prefix("ID:") {
                id = Some(number.trim().parse().map_err(|_| "its ID is not a number")?);
            } else if let Some(field) = line.strip_prefix("field:") {
                fields.push(parse_field(field)?);
            }
        }
        Ok(Self { id: id.ok_or("it has no ID")?, fields })
    }

    /// The field of that name.
    pub(crate) fn field(&self, name: &str) -> Option<Field> {
        self.fields.iter().find_map(|(own, field)| (own == name).then_some(*field))
    }
}

/// `TYPE NAME; offset:N; size:N; signed:N;`, where NAME may be that of an array.
fn parse_field(text: &str) -> Result<(String, Field), &'static str> {
    const NONSENSE: &str = "a field has no name, offset or size";
    let mut parts = text.split(';').map(str::trim);
    let declaration = parts.next().unwrap_or_default();
    let name = declaration.split_whitespace().last().and_then(|name| name.split('[').next());
    let (mut offset, mut size) = (None, None);
    for part in parts {
        match part.split_once(':') {
            Some(("offset", number)) => offset = number.trim().parse().ok(),
            Some(("size", number)) => size = number.trim().parse().ok(),
            _ => {}
        }
    }
    match (name, offset, size) {
        (Some(name), Some(offset), Some(size)) if !name.is_empty() => {
            Ok((name.to_owned(), Field { offset, size }))
        }
        _ => Err(NONSENSE),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As Linux 6.18 has it, without what is not read.
    pub(crate) const LINUX_6_18: &str = "name: io_uring_req_failed\nID: 2137\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:void * ctx;\toffset:8;\tsize:8;\tsigned:0;\n\
        \tfield:unsigned long long user_data;\toffset:24;\tsize:8;\tsigned:0;\n\
        \tfield:u8 opcode;\toffset:32;\tsize:1;\tsigned:0;\n\
        \tfield:u8 flags;\toffset:33;\tsize:1;\tsigned:0;\n\
        \tfield:u64 off;\toffset:40;\tsize:8;\tsigned:0;\n\
        \tfield:u64 addr;\toffset:48;\tsize:8;\tsigned:0;\n\
        \tfield:u32 len;\toffset:56;\tsize:4;\tsigned:0;\n\
        \tfield:u32 op_flags;\toffset:60;\tsize:4;\tsigned:0;\n\
        \tfield:int error;\toffset:88;\tsize:4;\tsigned:1;\n\
        \tfield:__data_loc char[] op_str;\toffset:92;\tsize:4;\tsigned:0;\n\n\
        print fmt: \"ring %p, req %p, error=%d\", REC->ctx, REC->req, REC->error\n";

    /// The other tracepoint, likewise.
    pub(crate) const TAKEN_6_18: &str = "name: io_uring_submit_req\nID: 2140\nformat:\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:void * ctx;\toffset:8;\tsize:8;\tsigned:0;\n\
        \tfield:unsigned long long user_data;\toffset:24;\tsize:8;\tsigned:0;\n\
        \tfield:u8 opcode;\toffset:32;\tsize:1;\tsigned:0;\n\
        \tfield:unsigned long long flags;\toffset:40;\tsize:8;\tsigned:0;\n\
        \tfield:bool sq_thread;\toffset:48;\tsize:1;\tsigned:0;\n\n\
        print fmt: \"ring %p\", REC->ctx\n";

    /// What came before it, as the declaration in include/trace/events/io_uring.h of 6.1 lies in memory.
    pub(crate) const TAKEN_6_1: &str = "name: io_uring_submit_sqe\nID: 1900\nformat:\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:void * ctx;\toffset:8;\tsize:8;\tsigned:0;\n\
        \tfield:unsigned long long user_data;\toffset:24;\tsize:8;\tsigned:0;\n\
        \tfield:u8 opcode;\toffset:32;\tsize:1;\tsigned:0;\n\
        \tfield:u32 flags;\toffset:36;\tsize:4;\tsigned:0;\n\
        \tfield:bool force_nonblock;\toffset:40;\tsize:1;\tsigned:0;\n\
        \tfield:bool sq_thread;\toffset:41;\tsize:1;\tsigned:0;\n\n\
        print fmt: \"ring %p\", REC->ctx\n";

    #[test]
    fn fields_are_found_by_name() {
        let format = Format::parse(LINUX_6_18).expect("a format");
        assert_eq!(format.id, 2137);
        assert_eq!(format.field("opcode"), Some(Field { offset: 32, size: 1 }));
        assert_eq!(format.field("error"), Some(Field { offset: 88, size: 4 }));
        assert_eq!(format.field("op_str"), Some(Field { offset: 92, size: 4 }));
        assert_eq!(format.field("fd"), None);
    }

    #[test]
    fn an_array_has_its_name() {
        let (name, field) = parse_field("char comm[16];\toffset:8;\tsize:16;\tsigned:0;").expect("a field");
        assert_eq!((name.as_str(), field), ("comm", Field { offset: 8, size: 16 }));
    }

    #[test]
    fn what_makes_no_sense_is_no_format() {
        assert_eq!(Format::parse(""), Err("it has no ID"));
        assert_eq!(Format::parse("ID: some"), Err("its ID is not a number"));
        assert_eq!(Format::parse("ID: 1\nfield:u8 a;size:1;"), Err("a field has no name, offset or size"));
        assert_eq!(
            Format::parse("ID: 1\nfield:;offset:1;size:1;"),
            Err("a field has no name, offset or size")
        );
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in any::<String>(), at in 0..LINUX_6_18.len(), with in ".{0,8}") {
            let _ = Format::parse(&text);
            // Nor one that is nearly a format.
            let _ = Format::parse(&format!("{}{with}{}", &LINUX_6_18[..at], &LINUX_6_18[at..]));
        }
    }
}
