//! Signatures of functions, as the header, the man page and Rust write them, in one form.

/// A function, in C's words with single spaces.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Function {
    pub(crate) name: String,
    result: String,
    /// Type and name of each.
    parameters: Vec<(String, String)>,
}

/// The functions that a header declares.
pub(crate) fn of_c(header: &str) -> Vec<Function> {
    let code: String =
        without_comments(header).lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join(" ");
    code.split(';').filter_map(declaration).collect()
}

fn without_comments(text: &str) -> String {
    let mut parts = text.split("/*");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |code, part| code + part.split_once("*/").map_or("", |(_, behind)| behind))
}

fn declaration(text: &str) -> Option<Function> {
    // What a block before has left over.
    let text = text.rsplit(['{', '}']).next()?.replace("RINGWARDEN_CHECKED", "");
    let text = words(&text);
    let (head, parameters) = text.strip_suffix(')')?.split_once('(')?;
    if head.starts_with("typedef") {
        return None;
    }
    let (result, name) = named(head);
    let parameters = if parameters.trim() == "void" { "" } else { parameters };
    let parameters = parameters.split(',').map(str::trim).filter(|one| !one.is_empty()).map(named).collect();
    Some(Function { name, result, parameters })
}

/// A type and the name behind it.
fn named(text: &str) -> (String, String) {
    let text = text.trim();
    let end = text.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
    (words(end), text[end.len()..].to_owned())
}

/// With single spaces, and one before each row of stars.
fn words(text: &str) -> String {
    let spaced = text.replace('*', " *").replace("* *", "**");
    let joined = spaced.split_whitespace().collect::<Vec<_>>().join(" ");
    joined.replace("* *", "**").replace("( *", "(*")
}

/// The functions that a Rust source exports.
pub(crate) fn of_rust(source: &str) -> Vec<Function> {
    let mut functions = Vec::new();
    for part in source.split("extern \"C\" fn ").skip(1) {
        let (head, _) = part.split_once('{').expect("a body");
        let (name, rest) = head.split_once('(').expect("parameters");
        let (parameters, result) = rest.rsplit_once(')').expect("their end");
        let result =
            result.trim().strip_prefix("->").map_or("void".to_owned(), |result| type_of(result.trim()));
        let parameters = parameters.split(',').map(str::trim).filter(|one| !one.is_empty());
        let parameters = parameters.map(|one| {
            let (name, of) = one.split_once(':').expect("a type");
            (type_of(of.trim()), name.trim_start_matches('_').to_owned())
        });
        functions.push(Function { name: name.to_owned(), result, parameters: parameters.collect() });
    }
    functions
}

/// A type of Rust's in C.
fn type_of(rust: &str) -> String {
    for (pointer, qualifier) in [("*const ", "const "), ("*mut ", "")] {
        if let Some(target) = rust.strip_prefix(pointer) {
            return match target.starts_with('*') {
                true => format!("{}{}*", type_of(target), qualifier).replace(" *const", " *const "),
                false => format!("{qualifier}{} *", base(target)),
            }
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        }
    }
    base(rust).to_owned()
}

fn base(rust: &str) -> &'static str {
    match rust {
        "c_int" => "int",
        "c_char" => "char",
        "c_void" => "void",
        "u32" => "uint32_t",
        "u64" => "uint64_t",
        "usize" => "size_t",
        "Error" => "struct ringwarden_error",
        "Policy" => "struct ringwarden_policy",
        "Enforcement" => "struct ringwarden_enforcement",
        "Diagnostic" => "struct ringwarden_diagnostic",
        "Filter" => "struct ringwarden_filter",
        "Verdict" => "struct ringwarden_verdict",
        "Params" => "struct io_uring_params",
        "Option<Read>" => "ringwarden_read *",
        other => panic!("`{other}` has no name in C here"),
    }
}

/// The declarations of a man page.
pub(crate) fn synopsis(page: &str) -> String {
    let (_, behind) = page.split_once(".SH SYNOPSIS").expect("a synopsis");
    let (section, _) = behind.split_once(".SH ").expect("its end");
    let mut text = String::new();
    for line in section.lines() {
        if let Some(plain) = line.strip_prefix(".B ") {
            text += plain;
        } else if let Some(arguments) = line.strip_prefix(".BI ") {
            // Words stand alone or in quotes, and are joined.
            for (index, part) in arguments.split('"').enumerate() {
                text += if index % 2 == 1 { part } else { part.trim() };
            }
        }
        text.push('\n');
    }
    text
}
