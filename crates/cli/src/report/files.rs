//! The files that policies are made of, and the way from a rule to its line in the page.

use maud::{Markup, html};
use ringwarden::policy::{Policy, RuleOrigin};
use sha2::{Digest, Sha256};

/// Every file once.
pub(super) struct Files(Vec<File>);

struct File {
    name: String,
    text: String,
    lines: usize,
}

impl Files {
    pub(super) fn new<'p>(layers: impl Iterator<Item = &'p Policy>) -> Self {
        let mut files: Vec<File> = Vec::new();
        for (name, text) in layers.flat_map(Policy::files) {
            if !files.iter().any(|known| known.name == name) {
                let lines = text.lines().count();
                files.push(File { name: name.to_owned(), text: text.to_owned(), lines });
            }
        }
        Self(files)
    }

    /// Names and texts.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|file| (file.name.as_str(), file.text.as_str()))
    }

    /// The place of a line in the page, which may be linked to.
    pub(super) fn anchor(&self, file: &str, line: usize) -> Option<String> {
        let index = self.0.iter().position(|known| known.name == file)?;
        (1..=self.0[index].lines).contains(&line).then(|| line_id(index, line))
    }

    /// `policy.toml:12`, as a link to that line.
    pub(super) fn place(&self, file: &str, line: usize) -> Markup {
        let text = format!("{file}:{line}");
        match self.anchor(file, line) {
            Some(anchor) => html! { a.at href={ "#" (anchor) } { (text) } },
            None => html! { span.at { (text) } },
        }
    }

    /// The same where something is said of `whole`: of that file the line alone.
    pub(super) fn place_in(&self, whole: &str, file: &str, line: usize) -> Markup {
        match self.anchor(file, line).filter(|_| file == whole) {
            Some(anchor) => html! {
                a.at href={ "#" (anchor) } title={ (file) ":" (line) } { "line " (line) }
            },
            None => self.place(file, line),
        }
    }

    /// Where a rule is written, where something is said of `whole`.
    pub(super) fn origin_in(&self, whole: &str, origin: &RuleOrigin) -> Markup {
        self.place_in(whole, &origin.file, origin.line)
    }

    /// Where a rule is written.
    pub(super) fn origin(&self, origin: &RuleOrigin) -> Markup {
        self.place(&origin.file, origin.line)
    }
}

/// What a file's place in the page is called.
pub(super) fn file_id(index: usize) -> String {
    format!("s{}", index + 1)
}

/// What a line's place in the page is called.
pub(super) fn line_id(index: usize, line: usize) -> String {
    format!("s{}-{line}", index + 1)
}

/// The SHA-256 of a text, in hexadecimal digits.
pub(super) fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
