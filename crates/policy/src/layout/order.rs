//! Where tables and keys belong.

use super::{File, Line, Table};

/// The keys that are in no table.
const ROOT: &[&str] = &["version", "name", "default", "extends", "within", "loosens"];

/// Tables from the first to the last. Those that share a place stay in the order that they are in.
const TABLES: &[&[&str]] =
    &[&["define"], &["all"], &["ops"], &["setup"], &["register"], &["never", "always"], &["test"]];

/// The keys of a table, where they have an order: in others it is the author's.
fn keys(table: &str) -> &'static [&'static str] {
    match table {
        "setup" => &["deny_flags", "max_entries"],
        "register" => &["default", "allow", "deny"],
        "never" | "always" => &["name", "op", "when"],
        "test" => &["name", "op", "with", "setup", "register", "expect"],
        _ => &[],
    }
}

/// Whether a policy has one table of that name.
pub(super) fn is_table(name: &str) -> bool {
    matches!(name, "define" | "all" | "ops" | "setup" | "register")
}

/// Whether a policy has tables of that name, as many as are needed.
pub(super) fn is_one_of_several(name: &str) -> bool {
    matches!(name, "never" | "always" | "test")
}

/// Everything in its place. Comments stay with what they stand before.
pub(super) fn file(file: &mut File) {
    lines(&mut file.root, ROOT);
    for Table { name, lines: of_table, .. } in &mut file.tables {
        lines(of_table, keys(name));
    }
    let place = |table: &Table| TABLES.iter().position(|names| names.contains(&table.name.as_str()));
    file.tables.sort_by_key(|table| place(table).unwrap_or(TABLES.len()));
}

fn lines(lines: &mut Vec<Line>, keys: &[&str]) {
    if keys.is_empty() {
        return;
    }
    let place = |key: &str| keys.iter().position(|other| *other == key).unwrap_or(keys.len());
    // Each key with what stands before it.
    let (mut chunks, mut before) = (Vec::new(), Vec::new());
    for line in lines.drain(..) {
        let at = match &line {
            Line::Entry(entry) => Some(place(&entry.key)),
            _ => None,
        };
        before.push(line);
        if let Some(at) = at {
            chunks.push((at, std::mem::take(&mut before)));
        }
    }
    chunks.sort_by_key(|(at, _)| *at);
    lines.extend(chunks.into_iter().flat_map(|(_, chunk)| chunk));
    lines.append(&mut before);
}
