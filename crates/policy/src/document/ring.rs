//! Rings and register calls that tests and questions are about.

use super::{Document, word};
use crate::data::register_group::RegisterGroup;
use crate::data::setup_flag::SetupFlag;
use crate::diagnostic::source::{Source, Span};
use crate::diagnostic::suggest;
use crate::diagnostic::{Code, Diagnostics};
use crate::policy::call::{Call, SetupCall};
use ringwarden_uapi::RegisterOp;
use ringwarden_uapi::ring::{MAX_ENTRIES, SetupFlags};
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

const FIELDS: &[&str] = &["entries", "cq_entries", "flags"];
const EXPECTED: &str = "a ring: `setup = { entries = 64, flags = [\"SQPOLL\"] }`";

/// What is said of a ring, each with its place.
#[derive(Default)]
struct Said {
    entries: Option<(u32, Span)>,
    cq_entries: Option<(u32, Span)>,
    flags: Option<(SetupFlags, Span)>,
}

impl Call {
    /// Reads a ring from `field=value` lines: `entries=64`, `cq_entries=4096`, `flags=SQPOLL|SQ_AFF`. Diagnostics
    /// call them the file `ring`, a value a line.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn parse_setup(values: &[String]) -> Result<Self, Diagnostics> {
        ring(&Arc::new(Source::new("ring", &values.join("\n")))).map(Self::Setup)
    }

    /// Reads register calls from the name of an opcode, or its number.
    ///
    /// # Errors
    /// That there is none.
    pub fn parse_register(name: &str) -> Result<Self, Diagnostics> {
        register(&Arc::new(Source::new("register", name))).map(Self::Register)
    }
}

/// Reads `field=value` lines as a ring.
fn ring(source: &Arc<Source>) -> Result<SetupCall, Diagnostics> {
    let mut document = Document::new(source);
    let ring = document.ring_of_lines();
    ring.filter(|_| document.errors.is_empty()).ok_or_else(|| Diagnostics::new(document.errors))
}

/// Reads a name as a register opcode.
fn register(source: &Arc<Source>) -> Result<RegisterOp, Diagnostics> {
    let mut document = Document::new(source);
    let (name, whole) = (source.text.as_str(), 0..source.text.len());
    if let Ok(number) = name.parse() {
        return Ok(RegisterOp(number));
    }
    RegisterOp::from_name(name).ok_or_else(|| {
        let error = match RegisterGroup::named(name) {
            Some(_) => document
                .error(Code::UnknownRegister, whole, "a group, and one opcode is asked for")
                .label("here"),
            None => document.unknown_register(name, whole),
        };
        document.errors.push(error);
        Diagnostics::new(document.errors)
    })
}

impl Document<'_> {
    /// `setup` of a test.
    pub(super) fn ring(&mut self, value: &Spanned<DeValue<'_>>) -> Option<SetupCall> {
        let DeValue::Table(table) = value.get_ref() else {
            let error = self.wrong_type(value, "a table", EXPECTED);
            return self.refuse(error);
        };
        let said = self.said(table);
        self.possible_ring(said, value.span())
    }

    fn said(&mut self, table: &DeTable<'_>) -> Said {
        let mut said = Said::default();
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "entries" => said.entries = self.size(value),
                "cq_entries" => said.cq_entries = self.size(value),
                "flags" => {
                    let names = self.names(value, "flags in an array: `flags = [\"SQPOLL\"]`");
                    said.flags = Some((self.flags(names), value.span()));
                }
                name => self.unknown_field(name, key.span()),
            }
        }
        said
    }

    fn size(&mut self, value: &Spanned<DeValue<'_>>) -> Option<(u32, Span)> {
        let DeValue::Integer(number) = value.get_ref() else {
            let error = self.wrong_type(value, "a number", "how many: `entries = 64`");
            return self.refuse(error);
        };
        // What is too large for the call is too large for the kernel.
        let size = word(number).unwrap_or(u32::MAX);
        Some((size, value.span()))
    }

    fn ring_of_lines(&mut self) -> Option<SetupCall> {
        let source = self.source;
        let mut said = Said::default();
        for (line, span) in source.lines() {
            let Some((name, text)) = line.split_once('=') else {
                let error = self.error(Code::Syntax, span, format!("`{line}` gives nothing a value"));
                self.errors.push(error.label("without `=`").expected("`field=value`, such as `entries=64`"));
                continue;
            };
            let equals = span.start + name.len();
            let place = equals + 1..span.end;
            let is_new = match name.trim() {
                "entries" => said.entries.is_none(),
                "cq_entries" => said.cq_entries.is_none(),
                "flags" => said.flags.is_none(),
                unknown => {
                    self.unknown_field(unknown, span.start..equals);
                    continue;
                }
            };
            if !is_new {
                let error =
                    self.error(Code::ImpossibleTest, span, format!("`{}` is given already", name.trim()));
                self.errors.push(error.label("again"));
                continue;
            }
            match name.trim() {
                "flags" => {
                    let mut start = place.start;
                    let named = text.split('|').map(|name| {
                        let span = start..start + name.len();
                        start = span.end + 1;
                        (name.trim(), span)
                    });
                    let named: Vec<_> = named.filter(|(name, _)| !name.is_empty()).collect();
                    said.flags = Some((self.flags(named), place));
                }
                field => {
                    let size = match text.trim().parse() {
                        Ok(size) => Some((size, place)),
                        Err(_) => {
                            let error =
                                self.error(Code::Syntax, place, format!("`{}` is not a number", text.trim()));
                            self.refuse(error.label("here").expected("how many, in decimal"))
                        }
                    };
                    if field == "entries" { said.entries = size } else { said.cq_entries = size }
                }
            }
        }
        self.possible_ring(said, 0..source.text.len())
    }

    fn flags(&mut self, names: Vec<(&str, Span)>) -> SetupFlags {
        let mut flags = SetupFlags::empty();
        for (name, span) in names {
            match SetupFlag::named(name.strip_prefix("IORING_SETUP_").unwrap_or(name)) {
                Some(known) => flags |= known.flag,
                None => {
                    let error = self.unknown_flag(name, span);
                    self.errors.push(error);
                }
            }
        }
        flags
    }

    fn unknown_field(&mut self, name: &str, span: Span) {
        let error = self.error(Code::UnknownName, span, format!("rings have no field `{name}`"));
        let error = error.label("no such field");
        self.errors.push(match suggest::closest(name, FIELDS.iter().copied()) {
            Some(closest) => error.help(format!("did you mean `{closest}`?")),
            None => error.expected("`entries`, `cq_entries` or `flags`"),
        });
    }

    /// The ring, if a kernel could make one of that size (`io_uring_fill_params`, io_uring/io_uring.c, Linux 7.2). Which
    /// flags go together is the kernel's to say.
    fn possible_ring(&mut self, said: Said, whole: Span) -> Option<SetupCall> {
        if !self.errors.is_empty() {
            return None;
        }
        let Some((entries, place)) = said.entries else {
            let error = self.error(Code::IncompleteTest, whole, "`entries` is missing").label("of this ring");
            return self.refuse(error.expected(EXPECTED));
        };
        let mut flags = said.flags.as_ref().map_or(SetupFlags::empty(), |(flags, _)| *flags);
        let clamps = flags.contains(SetupFlags::CLAMP);
        let impossible = if entries == 0 {
            Some((place, "no kernel makes a ring without entries"))
        } else if entries > MAX_ENTRIES && !clamps {
            Some((place, "kernels make rings of at most 32768 entries"))
        } else {
            match (said.cq_entries.clone(), said.flags) {
                (Some((cq_entries, place)), _) if cq_entries < entries.min(MAX_ENTRIES) => {
                    Some((place, "smaller than the submission queue"))
                }
                (Some((cq_entries, place)), _) if cq_entries > 2 * MAX_ENTRIES && !clamps => {
                    Some((place, "kernels make completion queues of at most 65536 entries"))
                }
                (None, Some((_, place))) if flags.contains(SetupFlags::CQSIZE) => {
                    Some((place, "`cq_entries` is missing, which CQSIZE is for"))
                }
                _ => None,
            }
        };
        if let Some((span, reason)) = impossible {
            let error = self.error(Code::ImpossibleTest, span, "no kernel makes such a ring");
            return self.refuse(error.label(reason));
        }
        let cq_entries = said.cq_entries.map(|(cq_entries, _)| cq_entries);
        flags.set(SetupFlags::CQSIZE, cq_entries.is_some());
        Some(SetupCall { entries, cq_entries, flags })
    }

    /// `register` of a test: an opcode by name or number, or the members of a group.
    pub(super) fn registered(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Vec<RegisterOp>> {
        match value.get_ref() {
            DeValue::Integer(number) => match word(number) {
                Some(number) => Some(vec![RegisterOp(number)]),
                None => {
                    let error =
                        self.error(Code::UnknownRegister, value.span(), "no register opcode has this number");
                    self.refuse(error.label("not from 0 to 4294967295"))
                }
            },
            DeValue::String(name) => match (RegisterGroup::named(name), RegisterOp::from_name(name)) {
                (Some(group), _) => Some(group.members.to_vec()),
                (None, Some(op)) => Some(vec![op]),
                (None, None) => {
                    let error = self.unknown_register(name, value.span());
                    self.refuse(error)
                }
            },
            _ => {
                let error = self.wrong_type(
                    value,
                    "a string",
                    "a register opcode or a group: `register = \"probe\"`",
                );
                self.refuse(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Code, Policy, Question};

    fn tests(text: &str) -> Result<Vec<String>, (Code, String)> {
        let text = format!("version = 1\ndefault = \"deny\"\n[[test]]\nexpect = \"deny\"\n{text}\n");
        let policy = Policy::parse(&text, "policy.toml").map_err(|errors| {
            let error = errors.iter().next().expect("an error");
            (error.code(), errors.render(false))
        })?;
        Ok(policy.tests().iter().flat_map(|test| test.questions.iter().map(Question::to_string)).collect())
    }

    #[test]
    fn a_test_is_about_one_ring_or_the_opcodes_of_a_group() {
        for (text, expected) in [
            ("setup = { flags = [\"SQPOLL\"], entries = 0x40 }", &["setup entries=64 flags=SQPOLL"][..]),
            ("register = \"@rings\"", &["register send_msg_ring"]),
            ("register = \"@queries\"", &["register probe", "register query"]),
            ("register = 4_000_000_000", &["register 4000000000"]),
            ("register = 8", &["register probe"]),
            ("op = [\"read\", \"@rings\"]", &["read", "msg_ring"]),
        ] {
            assert_eq!(tests(text).expect("a test"), expected);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, code, said) in [
            (
                "op = \"nop\"\nsetup = { entries = 1 }",
                Code::IncompleteTest,
                "a test of `op` and of `setup` at once",
            ),
            ("register = \"probe\"\nwith = {}", Code::IncompleteTest, "`with` is of requests"),
            ("with = {}", Code::IncompleteTest, "`setup = { … }` or `register = …`"),
            ("setup = \"SQPOLL\"", Code::WrongType, "a string where a table belongs"),
            ("setup = { flags = [] }", Code::IncompleteTest, "`entries` is missing"),
            ("setup = { entries = \"64\" }", Code::WrongType, "a number"),
            ("setup = { entries = 64, flag = [] }", Code::UnknownName, "did you mean `flags`?"),
            ("setup = { entries = 64, flags = \"SQPOLL\" }", Code::WrongType, "an array"),
            (
                "setup = { entries = 64, flags = [\"IORING_SETUP_SQPOL\"] }",
                Code::UnknownSetupFlag,
                "`SQPOLL`",
            ),
            ("setup = { entries = -1 }", Code::ImpossibleTest, "no kernel makes such a ring"),
            ("setup = { entries = 1, cq_entries = 65537 }", Code::ImpossibleTest, "at most 65536"),
            ("register = \"bufers\"", Code::UnknownRegister, "did you mean `buffers`?"),
            ("register = -1", Code::UnknownRegister, "no register opcode has this number"),
            ("register = []", Code::WrongType, "a string"),
            ("op = []", Code::IncompleteTest, "no operation is named"),
            ("op = [\"read\", 3]", Code::WrongType, "a number where a string belongs"),
            ("op = [\"raed\"]", Code::UnknownOperation, "did you mean `read`?"),
        ] {
            let (found, rendered) = tests(text).expect_err(text);
            assert_eq!(found, code, "{rendered}");
            assert!(rendered.contains(said), "{said}: {rendered}");
        }
    }
}
