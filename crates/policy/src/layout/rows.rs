//! Elements in rows: lists, and sets of conditions.

use super::WIDTH;

/// What stands in a row, and whether it begins one.
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) is_first: bool,
}

/// The rows of elements: those that they were written in, and as many more as the width demands. Each element is
/// followed by a comma.
pub(super) fn of(cells: impl IntoIterator<Item = Cell>, indent: usize) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    for Cell { text, is_first } in cells {
        match rows.last_mut() {
            Some(row) if !is_first && row.chars().count() + text.chars().count() + 2 <= WIDTH => {
                row.push(' ');
                row.push_str(&text);
                row.push(',');
            }
            _ => rows.push(format!("{:indent$}{text},", "")),
        }
    }
    rows
}
