//! Expression text to tokens.

use crate::data::field::FIELDS;
use crate::diagnostic::source::{Excerpt, Source, Span};
use crate::diagnostic::{Code, Diagnostic};
use crate::syntax::network::Network;
use ringwarden_uapi::Opcode;
use std::sync::Arc;

/// A token and the bytes of the expression that it takes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TokenKind {
    /// A field, a constant or `in`.
    Name,
    Number(u64),
    Network(Network),
    /// A number, address or name that is none, and has been reported.
    Bad,
    /// An operator or bracket.
    Symbol(&'static str),
    End,
}

/// Operators and brackets; a symbol stands before every prefix of it.
const SYMBOLS: &[&str] = &[
    "..=", "..", "==", "!=", "<=", ">=", "<<", ">>", "&&", "||", "<", ">", "&", "|", "^", "~", "+", "-", "!",
    "(", ")", "{", "}", ",",
];

/// What people write who know another language, and what it is here.
const FOREIGN: &[(&str, &str)] = &[
    ("=", "equality is `==`"),
    ("[", "sets are written in braces: `{a, b}`"),
    ("]", "sets are written in braces: `{a, b}`"),
    ("*", "there is no multiplication; `<<` shifts"),
    ("/", "there is no division; `>>` shifts, and a network is written `10.0.0.0/8`"),
    ("%", "there is no remainder; `&` takes the low bits"),
    ("\"", "fields and constants are written without quotes"),
    ("'", "fields and constants are written without quotes"),
    ("#", "comments stand outside the string, as TOML comments"),
    (";", "conditions are joined by `&&` or `||`"),
    (".", "a field is written without its operation: `port`"),
    (":", "there are no other values to choose from: conditions are joined by `&&` and `||`"),
    ("?", "there are no other values to choose from: conditions are joined by `&&` and `||`"),
    ("\u{2013}", "ranges are written `80..=90`"),
    ("\u{2026}", "ranges are written `80..=90`"),
    ("@", "groups are keys of `[ops]`, not parts of expressions"),
];

/// All tokens, [`TokenKind::End`] last, and everything that is not a token: in its place stands what was
/// perhaps meant, or [`TokenKind::Bad`].
pub(crate) fn tokens(source: &Arc<Source>, excerpt: &Excerpt<'_>) -> (Vec<Token>, Vec<Diagnostic>) {
    let mut lexer = Lexer { source, excerpt, at: 0, tokens: Vec::new(), errors: Vec::new() };
    while lexer.errors.len() < MOST_ERRORS {
        if !lexer.token() {
            return (lexer.tokens, lexer.errors);
        }
    }
    lexer.push(TokenKind::End, 0);
    (lexer.tokens, lexer.errors)
}

/// Bad tokens reported in one expression: a text that is no expression at all has many.
pub(crate) const MOST_ERRORS: usize = 8;

struct Lexer<'s> {
    source: &'s Arc<Source>,
    excerpt: &'s Excerpt<'s>,
    at: usize,
    tokens: Vec<Token>,
    errors: Vec<Diagnostic>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.excerpt.text[self.at..]
    }

    fn push(&mut self, kind: TokenKind, length: usize) {
        self.tokens.push(Token { kind, span: self.at..self.at + length });
        self.at += length;
    }

    /// The error for the next bytes.
    fn error(&self, code: Code, length: usize, message: String) -> Diagnostic {
        Diagnostic::new(self.source, code, self.excerpt.span(&(self.at..self.at + length)), message)
    }

    /// Reads one token; false at the end.
    fn token(&mut self) -> bool {
        let blank = self.rest().len() - self.rest().trim_start().len();
        self.at += blank;
        let Some(first) = self.rest().chars().next() else {
            self.push(TokenKind::End, 0);
            return false;
        };
        if is_word(first) || self.rest().starts_with("::") {
            self.word();
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| self.rest().starts_with(**symbol)) {
            self.push(TokenKind::Symbol(symbol), symbol.len());
        } else {
            self.unexpected(first);
        }
        true
    }

    fn unexpected(&mut self, first: char) {
        if let Some((network, length)) = self.in_brackets() {
            let text = &self.rest()[..length];
            let error = self.error(Code::BadAddress, length, format!("`{text}`: addresses have no brackets"));
            self.errors.push(error.label("an address").help(format!("write `{network}`")));
            return self.push(TokenKind::Network(network), length);
        }
        if let Some(length) = path(self.rest()) {
            let message = format!("`{}` is a path: filters do not see paths", &self.rest()[..length]);
            let error = self.error(Code::UnexpectedCharacter, length, message);
            let error = error.label("not part of the language");
            self.errors.push(error.help(
                "allow or deny the operation, or look at its flags; paths are for mounts, Landlock and file modes",
            ));
            return self.push(TokenKind::Bad, length);
        }
        let foreign = FOREIGN.iter().find(|(text, _)| self.rest().starts_with(text));
        let repeated = self.rest().len() - self.rest().trim_start_matches(first).len();
        let message = format!("unexpected `{first}` in an expression");
        let error = self.error(Code::UnexpectedCharacter, repeated, message);
        let error = error.label("not part of the language");
        self.errors.push(match foreign {
            Some((_, help)) => error.help(*help),
            None => error.expected("a field, a constant, a number, an operator or a bracket"),
        });
        match first {
            '=' => self.push(TokenKind::Symbol("=="), repeated),
            '[' => self.push(TokenKind::Symbol("{"), repeated),
            ']' => self.push(TokenKind::Symbol("}"), repeated),
            _ => self.at += repeated,
        }
    }

    /// An address in the brackets that it has in URLs: the address, and the length of all of it.
    fn in_brackets(&self) -> Option<(Network, usize)> {
        let (inner, _) = self.rest().strip_prefix('[')?.split_once(']')?;
        let network = Network::parse(inner.trim()).ok().filter(|_| inner.contains(':'))?;
        Some((network, inner.len() + 2))
    }

    /// A name, number, address or network: they share their first characters (`fd00::1`, `face`).
    fn word(&mut self) {
        let rest = self.rest();
        let end = rest.find(|c: char| !is_word(c) && c != ':' && c != '.').unwrap_or(rest.len());
        // A range ends the word: `1..=2`.
        let end = rest[..end].find("..").unwrap_or(end);
        let word = &rest[..end];
        let prefix = match rest[end..].strip_prefix('/') {
            Some(tail) => 1 + tail.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(tail.len()),
            None => 0,
        };
        let hyphenated =
            &rest[..rest.find(|c: char| !is_word(c) && !":.-".contains(c)).unwrap_or(rest.len())];
        let digit = word.starts_with(|c: char| c.is_ascii_digit());
        let hexadecimal = word.chars().all(|c| c.is_ascii_hexdigit() || c == ':' || c == '.');
        if (word.contains(':') && hexadecimal) || (digit && word.contains('.')) {
            self.network(end + prefix);
        } else if digit {
            self.number(word.find(':').unwrap_or(end));
        } else if let Some(length) = host_name(hyphenated) {
            let message = format!("`{}` is a host name: names are not resolved", &hyphenated[..length]);
            let error = self.error(Code::BadAddress, length, message).label("not an address");
            let error = error.note("filters see addresses only, and what a name stands for can change");
            self.errors.push(error.help("write its addresses: `addr in {192.0.2.1, 2001:db8::1}`"));
            self.push(TokenKind::Bad, length);
        } else if let Some(end) = word.find(['.', ':']) {
            let is_dot = word[end..].starts_with('.');
            // What stands before the dot is left out: `connect.port` is meant as `port`.
            if is_dot {
                self.at += end
            } else {
                self.push(TokenKind::Name, end)
            }
            self.unexpected(if is_dot { '.' } else { ':' });
        } else {
            self.push(TokenKind::Name, end);
        }
    }

    fn network(&mut self, length: usize) {
        let fault = match Network::parse(&self.rest()[..length]) {
            Ok(network) => return self.push(TokenKind::Network(network), length),
            Err(fault) => fault,
        };
        let text = &self.rest()[..length];
        let with_port = text
            .split_once(':')
            .filter(|(address, port)| Network::parse(address).is_ok() && port.parse::<u16>().is_ok());
        let error = match with_port {
            Some((address, port)) => {
                let message = format!("`{text}` is an address and a port: they are two fields");
                let error = self.error(Code::BadAddress, length, message);
                error.help(format!("`addr == {address} && port == {port}`"))
            }
            None => {
                let error = self.error(Code::BadAddress, length, format!("`{text}`: {}", fault.reason));
                let error = error.expected(
                    "an address such as `10.1.2.3` or `fd00::1`, or a network such as `10.0.0.0/8`",
                );
                match fault.instead {
                    Some(network) => error.help(format!("the network is `{network}`")),
                    None => error,
                }
            }
        };
        self.errors.push(error);
        self.push(fault.instead.map_or(TokenKind::Bad, TokenKind::Network), length);
    }

    fn number(&mut self, length: usize) {
        let word = &self.rest()[..length];
        match number(word) {
            Ok(value) => self.push(TokenKind::Number(value), length),
            Err((reason, help)) => {
                let message = format!("`{word}` is not a number: {reason}");
                let error = self.error(Code::BadNumber, length, message);
                let error = error.expected("decimal `420`, hexadecimal `0x1a4` or octal `0o644`");
                self.errors.push(match help {
                    Some(help) => error.help(help),
                    None => error,
                });
                self.push(TokenKind::Bad, length);
            }
        }
    }
}

/// How many bytes of a word that has dots are the name of a host: not of a field after its operation.
fn host_name(word: &str) -> Option<usize> {
    let name = word.split(':').next().unwrap_or_default();
    let (first, last) = (name.split('.').next()?, name.rsplit('.').next()?);
    let is_field = FIELDS.iter().any(|field| field.name == last);
    let is_operation = Opcode::from_name(first).is_some();
    let is_name = name.contains('.') && last.len() > 1 && last.chars().all(|c| c.is_ascii_alphabetic());
    (is_name && !is_field && !is_operation).then_some(name.len())
}

/// How many bytes are an absolute path, in quotes or not.
fn path(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|c| "\"'`".contains(*c));
    let (start, end) = match quote {
        Some(quote) => (1, text[1..].find(quote)? + 2),
        None => (0, text.find(|c: char| c.is_whitespace() || ")}&|,".contains(c)).unwrap_or(text.len())),
    };
    let is_path = text[start..].starts_with('/')
        && text[start + 1..].starts_with(|c: char| c.is_ascii_alphabetic() || "._*".contains(c));
    is_path.then_some(end)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The value of a number, or why it has none and what was perhaps meant.
fn number(word: &str) -> Result<u64, (String, Option<String>)> {
    let lower = word.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        _ => (10, lower.as_str()),
    };
    let digits = digits.replace('_', "");
    let fault = |reason: &str, help: Option<String>| Err((reason.to_owned(), help));
    if digits.is_empty() {
        return fault("no digits follow", None);
    }
    if radix == 10 && digits.len() > 1 && digits.starts_with('0') {
        let octal = digits.trim_start_matches('0');
        let is_octal = !octal.is_empty() && octal.chars().all(|c| c.is_digit(8));
        return fault(
            "decimal numbers do not start with 0",
            is_octal.then(|| format!("octal is written `0o{octal}`")),
        );
    }
    if let Some(bad) = digits.chars().find(|c| !c.is_digit(radix)) {
        let hexadecimal = radix == 10 && digits.chars().all(|c| c.is_ascii_hexdigit());
        let base = match radix {
            16 => "a hexadecimal",
            8 => "an octal",
            _ => "a decimal",
        };
        return fault(
            &format!("`{bad}` is not {base} digit"),
            hexadecimal.then(|| format!("hexadecimal is written `0x{digits}`")),
        );
    }
    u64::from_str_radix(&digits, radix).or_else(|_| fault("it needs more than 64 bits", None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Result<Vec<TokenKind>, Vec<Code>> {
        let source = Arc::new(Source::new("f", text));
        let excerpt = Excerpt::new(&source, text, 0..text.len());
        let (tokens, errors) = tokens(&source, &excerpt);
        match errors.is_empty() {
            true => Ok(tokens.into_iter().map(|token| token.kind).collect()),
            false => Err(errors.iter().map(Diagnostic::code).collect()),
        }
    }

    #[test]
    fn words_are_told_apart() {
        use TokenKind::{End, Name, Network as Net, Number, Symbol};
        let net = |text| Net(Network::parse(text).unwrap());
        let cases: &[(&str, Vec<TokenKind>)] = &[
            ("face", vec![Name, End]),
            ("face::", vec![net("face::/128"), End]),
            ("::1", vec![net("::1"), End]),
            ("::ffff:10.0.0.1/128", vec![net("::ffff:10.0.0.1"), End]),
            ("10.0.0.0/8", vec![net("10.0.0.0/8"), End]),
            ("1..=2", vec![Number(1), Symbol("..="), Number(2), End]),
            ("fd00::1..=fd00::2", vec![net("fd00::1"), Symbol("..="), net("fd00::2"), End]),
            ("0x_FF 0o17 1_000", vec![Number(255), Number(15), Number(1000), End]),
            ("a<<1", vec![Name, Symbol("<<"), Number(1), End]),
            ("18446744073709551615", vec![Number(u64::MAX), End]),
        ];
        for (text, expected) in cases {
            assert_eq!(kinds(text).as_ref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn every_bad_token_is_reported() {
        let cases: &[(&str, &[Code])] = &[
            ("a = 1 ; é", &[Code::UnexpectedCharacter; 3]),
            ("0644 08 0xg 0o9 0x 12ab 18446744073709551616", &[Code::BadNumber; 7]),
            ("10.0.0.1/8 10.0.0 1.2.3.4/33 fd00:: /1 ::/129 1.2.3.4/", &[Code::BadAddress; 5]),
            ("a.b", &[Code::UnexpectedCharacter]),
            ("path == /etc/x && \"/tmp/a b\" == 1", &[Code::UnexpectedCharacter; 2]),
            ("my-host.example.com", &[Code::BadAddress]),
        ];
        for (text, expected) in cases {
            let found = kinds(text).unwrap_err();
            let wanted = expected[0];
            assert!(
                found.iter().filter(|&&code| code == wanted).count() >= expected.len(),
                "{text}: {found:?}"
            );
        }
    }
}
