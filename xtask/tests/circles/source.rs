//! The paths that a file of Rust names, found without a parser.
//!
//! Taken for granted is the form that rustfmt gives, that no module is declared within a macro or by `#[path]` under
//! another name, and that what tests have to themselves is marked `#[cfg(test)]`. Block comments are not read.

/// What is to be known of a file.
#[derive(Default)]
pub(crate) struct Source {
    /// Names that `use` brings in, each with its path.
    pub(crate) uses: Vec<(String, Vec<String>)>,
    /// Other paths of more than one name.
    pub(crate) paths: Vec<Vec<String>>,
    /// Modules in files of their own that are there for tests.
    pub(crate) test_modules: Vec<String>,
}

impl Source {
    pub(crate) fn of(text: &str) -> Self {
        let mut source = Self::default();
        let tokens = tokens(text);
        let mut rest = tokens.as_slice();
        let mut in_path = false;
        while let Some((token, more)) = rest.split_first() {
            let begins = is_name(token) && !in_path;
            in_path = token == "::";
            match token.as_str() {
                "#" if starts(rest, &["#", "[", "cfg", "(", "test", ")", "]"]) => {
                    let (item, after) = item(&rest[7..]);
                    let declared = item
                        .iter()
                        .position(|token| token == "mod")
                        .filter(|_| !item.contains(&"{".to_owned()));
                    source.test_modules.extend(declared.map(|at| item[at + 1].clone()));
                    rest = after;
                }
                "use" => {
                    let end = more.iter().position(|token| token == ";").unwrap_or(more.len());
                    source.tree(&[], &more[..end]);
                    rest = &more[end..];
                }
                _ if begins && starts(more, &["::"]) => {
                    let path = path(rest);
                    rest = &rest[path.len() * 2 - 1..];
                    source.paths.push(path);
                }
                _ => rest = more,
            }
        }
        source
    }

    /// Reads a tree of `use`, such as `a::{b, c as d}`, below a path.
    fn tree(&mut self, above: &[String], tokens: &[String]) {
        let names = path(tokens);
        let path = [above, &names].concat();
        let after = &tokens[(names.len() * 2).saturating_sub(1).min(tokens.len())..];
        let list = match after {
            [colons, open, list @ .., _] if colons == "::" && open == "{" => list,
            [open, list @ .., _] if open == "{" => list,
            _ => {
                let own = names.last().filter(|name| *name != "self");
                let (path, name) = match own {
                    Some(name) => (path.clone(), Some(name.clone())),
                    None => (above.to_vec(), above.last().cloned()),
                };
                let name = if starts(after, &["as"]) { after.get(1).cloned() } else { name };
                self.uses.extend(name.map(|name| (name, path)));
                return;
            }
        };
        let mut depth = 0;
        let parts = list.split(|token| {
            depth += i32::from(token == "{") - i32::from(token == "}");
            token == "," && depth == 0
        });
        parts.filter(|part| !part.is_empty()).for_each(|part| self.tree(&path, part));
    }
}

/// The names at the beginning, with `::` between them.
fn path(tokens: &[String]) -> Vec<String> {
    let mut names = Vec::new();
    for pair in tokens.chunks(2) {
        if !is_name(&pair[0]) {
            break;
        }
        names.push(pair[0].clone());
        if pair.get(1).is_none_or(|between| between != "::") {
            break;
        }
    }
    names
}

/// An item, which ends with `;` or its last bracket, and what is behind it.
fn item(tokens: &[String]) -> (&[String], &[String]) {
    let mut depth = 0;
    let end = tokens.iter().position(|token| {
        depth += i32::from(token == "{") - i32::from(token == "}");
        depth == 0 && [";", "}"].contains(&token.as_str())
    });
    tokens.split_at(end.map_or(tokens.len(), |end| end + 1))
}

fn starts(tokens: &[String], with: &[&str]) -> bool {
    tokens.len() >= with.len() && tokens.iter().zip(with).all(|(token, with)| token == with)
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Names, `::` and single characters, without comments, texts and characters in quotes.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '"' => quoted(rest),
            'r' | 'b' if raw(rest).is_some() => raw(rest).unwrap_or(1),
            '\'' => character(rest),
            ':' if rest.starts_with("::") => {
                tokens.push("::".to_owned());
                2
            }
            _ if first.is_alphanumeric() || first == '_' => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                tokens.push(rest[..end].to_owned());
                end
            }
            _ => {
                tokens.extend((!first.is_whitespace()).then(|| first.to_string()));
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    tokens
}

/// How long the text in quotes is that begins here.
fn quoted(rest: &str) -> usize {
    let mut escaped = true;
    let end = rest.char_indices().find(|&(_, c)| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    end.map_or(rest.len(), |(at, _)| at + 1)
}

/// The same of a raw one, if it is one.
fn raw(rest: &str) -> Option<usize> {
    let behind = rest.strip_prefix("br").or(rest.strip_prefix('r'))?;
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    behind[hashes..].strip_prefix('"')?;
    let begin = rest.len() - behind.len() + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(rest[begin..].find(&end).map_or(rest.len(), |at| begin + at + end.len()))
}

/// The same of a character in quotes; of a lifetime only its mark.
fn character(rest: &str) -> usize {
    let mut inside = rest.chars().skip(1);
    match (inside.next(), inside.next()) {
        (Some('\\'), _) => rest.get(3..).and_then(|rest| rest.find('\'')).map_or(rest.len(), |at| at + 4),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 1,
    }
}
