//! Tables of figures.

use crate::engine::Missing;

/// A row for each case, a column for each engine.
pub(crate) struct Table {
    pub(crate) title: &'static str,
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<(&'static str, Vec<Cell>)>,
}

pub(crate) type Cell = Result<f64, Missing>;

impl Table {
    pub(crate) fn new(title: &'static str) -> Self {
        Self { title, columns: Vec::new(), rows: Vec::new() }
    }

    /// Adds a row, whose columns are those of the rows before it.
    pub(crate) fn push(&mut self, name: &'static str, cells: impl IntoIterator<Item = (&'static str, Cell)>) {
        let (columns, cells) = cells.into_iter().unzip();
        self.columns = columns;
        self.rows.push((name, cells));
    }

    pub(crate) fn print(&self, markdown: bool) {
        let head = [self.title].iter().chain(&self.columns).map(ToString::to_string).collect();
        let row = |(name, cells): &(&str, Vec<Cell>)| {
            let cells = cells.iter().map(|cell| cell.map_or_else(str::to_owned, figure));
            [(*name).to_owned()].into_iter().chain(cells).collect()
        };
        let rows: Vec<Vec<String>> = [head].into_iter().chain(self.rows.iter().map(row)).collect();
        let length = |text: &String| text.chars().count();
        let widths: Vec<_> = (0..rows[0].len())
            .map(|column| rows.iter().filter_map(|row| row.get(column).map(length)).max().unwrap_or(0))
            .collect();
        let [left, between, right] = if markdown { ["| ", " | ", " |"] } else { ["", "  ", ""] };
        for (number, row) in rows.iter().enumerate() {
            let cells: Vec<_> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            println!("{left}{}{right}", cells.join(between));
            if markdown && number == 0 {
                println!("|{}", "---|".repeat(row.len()));
            }
        }
        println!();
    }
}

/// Three digits or all of an integer.
fn figure(value: f64) -> String {
    if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}
