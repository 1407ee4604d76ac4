//! Fenced blocks of the documentation, and whether what commands print is as a page has it: `...` stands for any number
//! of lines and `[..]` for any part of a line.

/// A fenced block: what stands behind the backticks, the text, and its first line in the document.
pub(crate) struct Block {
    pub(crate) info: String,
    pub(crate) text: String,
    pub(crate) line: usize,
}

pub(crate) fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = document.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let text = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
            let text = text.map(|line| format!("{line}\n")).collect();
            blocks.push(Block { info: info.to_owned(), text, line: number + 1 });
        }
    }
    blocks
}

/// Whether lines are as a pattern has them.
pub(crate) fn matches(pattern: &[&str], lines: &[&str]) -> bool {
    match (pattern, lines) {
        ([], []) => true,
        (["...", rest @ ..], _) => (0..=lines.len()).any(|skipped| matches(rest, &lines[skipped..])),
        ([first, pattern @ ..], [line, lines @ ..]) => is_like(first, line) && matches(pattern, lines),
        _ => false,
    }
}

fn is_like(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.trim_end().split("[..]");
    let Some(mut rest) = parts.next().and_then(|first| line.trim_end().strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        let place = if parts.peek().is_none() { rest.rfind(part) } else { rest.find(part) };
        match place {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty()
}

#[test]
fn patterns_match_what_they_should() {
    assert!(matches(&["a", "...", "c [..] e"], &["a", "b", "b", "c d e"]));
    assert!(matches(&["..."], &[]) && matches(&["[..]"], &["x"]));
    assert!(
        !matches(&["a"], &["a", "b"]) && !matches(&["a[..]c"], &["ab"]) && !matches(&["a", "..."], &["b"])
    );
    assert!(is_like("[..]b[..]b", "aab b") && !is_like("b[..]", "ab"));
}
