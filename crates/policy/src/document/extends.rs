//! Other policies that a policy names: `extends`, those that it starts from, and `within`.

use super::Document;
use crate::data::preset::Preset;
use crate::diagnostic::Code;
use crate::diagnostic::source::{Source, Span};
use crate::policy::Policy;
use std::sync::Arc;
use toml::Spanned;
use toml::de::DeValue;

/// How many policies one may stand on, counted as often as they are named: circles end there, too.
const MOST: usize = 32;

/// A policy file that another one names.
#[derive(Clone, Debug)]
pub struct Base {
    /// What diagnostics and origins call it, and what its own `extends` is relative to.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// Where policies that others name come from.
pub(super) struct Library<'r> {
    /// Gives the policy of the first name, as the file of the second name writes it.
    pub(super) read: &'r mut dyn FnMut(&str, &str) -> Result<Base, String>,
    /// How many have been read.
    pub(super) count: usize,
    /// The files that are being read: each is extended by the one before it.
    pub(super) open: Vec<String>,
}

/// What `loosens` can name beside operations and groups.
const LOOSENED: [&str; 4] = ["default", "require", "setup", "register"];

impl Document<'_> {
    /// `loosens`: the rules of this file that allow what an extended one refuses, and are meant to.
    pub(super) fn loosens(&mut self, value: &Spanned<DeValue<'_>>) -> Vec<String> {
        const EXPECTED: &str = "the keys of rules: `loosens = [\"socket\", \"setup\"]`";
        let mut keys = Vec::new();
        for (name, span) in self.names(value, EXPECTED) {
            if LOOSENED.contains(&name) || self.members(name, span).is_some() {
                keys.push(name.to_owned());
            }
        }
        keys
    }

    /// The policies that a key names, and where: of `extends` the nearest comes last. `verb` is what cannot be
    /// done with one that cannot be read.
    pub(super) fn policies(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        key: &str,
        verb: &str,
        library: &mut Library<'_>,
    ) -> Vec<(Policy, Span)> {
        let expected = &format!("policies: `{key} = [\"base.toml\"]`");
        let DeValue::Array(names) = value.get_ref() else {
            let error = self.wrong_type(value, "an array", expected);
            self.errors.push(error);
            return Vec::new();
        };
        let mut bases = Vec::new();
        for value in names {
            let Some(name) = self.string(value, expected) else { continue };
            let base = match library.count {
                MOST.. => Err(format!("it is one of more than {MOST}; perhaps they name each other")),
                _ if name.starts_with('@') => preset(name),
                _ => (library.read)(name, &self.source.name),
            };
            library.count += 1;
            let base = base.and_then(|base| match self.circle(&base, library) {
                Some(reason) => Err(reason),
                None => Ok(base),
            });
            match base {
                Err(reason) => {
                    let message = format!("cannot {verb} `{name}`: {reason}");
                    let error = self.error(Code::Extends, value.span(), message);
                    self.errors.push(error.label("named here"));
                }
                Ok(base) => {
                    library.open.push(self.source.name.clone());
                    match super::policy(&Arc::new(Source::new(&base.file, &base.text)), library) {
                        Ok(policy) => bases.push((policy, value.span())),
                        Err(errors) => self.errors.extend(errors.iter().cloned()),
                    }
                    library.open.pop();
                }
            }
        }
        bases
    }

    /// Why a policy cannot be read that stands on this one.
    fn circle(&self, base: &Base, library: &Library<'_>) -> Option<String> {
        if base.file == self.source.name {
            return Some("it is this file itself".to_owned());
        }
        let from = library.open.iter().position(|file| *file == base.file)?;
        let chain = library.open[from..].iter().chain([&self.source.name, &base.file]);
        let chain: Vec<_> = chain.map(|file| format!("`{file}`")).collect();
        Some(format!("they extend each other: {}", chain.join(" extends ")))
    }
}

/// The preset of that name.
fn preset(name: &str) -> Result<Base, String> {
    let preset = Preset::find(name).map_err(|unknown| unknown.to_string())?;
    Ok(Base { file: name.to_owned(), text: preset.text.to_owned() })
}
