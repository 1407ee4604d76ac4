//! `[define]`: names for constants and sets.

use super::{Document, Key};
use crate::check::cond::Width;
use crate::check::definition::{Defined, Definition, Fixed, Item, Names};
use crate::data::constant::{CONSTANTS, Constant};
use crate::data::field::FIELDS;
use crate::data::kind::Kind;
use crate::diagnostic::source::{Excerpt, Source, Span};
use crate::diagnostic::suggest;
use crate::diagnostic::{Code, Diagnostic};
use crate::policy::Policy;
use crate::syntax::ast::{Arithmetic, Element, Expr, ExprKind, Meaning};
use crate::syntax::parse;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use toml::Spanned;
use toml::de::DeValue;

/// Words that conditions have a use for, or that are perhaps taken for a part of them.
const WORDS: &[&str] = &["in", "and", "or", "not", "true", "false", "allow", "deny"];

/// How many definitions one may stand on, one on the other.
const DEEP: usize = 64;

/// Elements of all sets of a file together: sets are made of sets.
const MOST: usize = 1 << 18;

const EXPECTED: &str = "a constant or a set in quotes, such as `\"10.1.2.3\"` or `\"{80, 8000..=8099}\"`";

/// A definition that has been read, and not looked at.
struct Written<'t> {
    key: &'t Key<'t>,
    text: String,
    /// The value, with its quotes.
    span: Span,
    meaning: Meaning,
}

impl Document<'_> {
    /// Takes over the definitions of a policy that is extended, at `span`.
    pub(super) fn take_names(&mut self, base: &Policy, span: &Span) {
        for (name, theirs) in &base.names {
            match self.names.get(name) {
                Some(own) if own.means != theirs.means => {
                    let message = format!(
                        "`{name}` has one meaning in `{}` and another in `{}`",
                        own.source.name, theirs.source.name
                    );
                    let error = self.error(Code::Taken, span.clone(), message).label("extended here");
                    let error = error.also_in(&own.source, own.span.clone(), "one");
                    let error = error.also_in(&theirs.source, theirs.span.clone(), "the other");
                    self.errors.push(error);
                }
                Some(_) => {}
                None => drop(self.names.insert(name.clone(), Arc::clone(theirs))),
            }
        }
    }

    pub(super) fn definitions(&mut self, value: &Spanned<DeValue<'_>>) {
        let DeValue::Table(table) = value.get_ref() else {
            let error =
                self.wrong_type(value, "a table", "`[define]`, with names and what they stand for below it");
            self.errors.push(error);
            return;
        };
        let mut written = BTreeMap::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let is_free = self.is_free(key);
            match self.written(value) {
                Some((text, meaning)) if is_free => {
                    written.insert(name, Written { key, text, span: value.span(), meaning });
                }
                // Who uses it is told nothing: it has been said what is wrong.
                _ if !self.names.contains_key(name) && Constant::named(name).is_none() => {
                    self.define(key, "", Defined::Broken)
                }
                _ => {}
            }
        }
        let names: Vec<_> = written.keys().copied().collect();
        let (mut open, mut elements) = (Vec::new(), 0);
        names.into_iter().for_each(|name| self.definition(name, &mut written, &mut open, &mut elements));
    }

    /// Whether a name may be given a meaning.
    fn is_free(&mut self, key: &Key<'_>) -> bool {
        let name = key.get_ref().as_ref();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let error = |message: String| self.error(Code::Taken, key.span(), message);
        let error = if name.is_empty()
            || !name.chars().all(is_word)
            || name.starts_with(|c: char| c.is_ascii_digit())
        {
            let error = error(format!("`{name}` is not a name for conditions"));
            let plain: String = name.chars().map(|c| if is_word(c) { c } else { '_' }).collect();
            let error = error.label("not a word").expected("letters, digits and `_`, no digit first");
            match plain.trim_matches('_').is_empty() || plain == name {
                true => error,
                false => error.help(format!("`{plain}`")),
            }
        } else if FIELDS.iter().any(|field| field.name == name) {
            let error = error(format!("`{name}` is a field")).label("has a meaning already");
            error.help(format!("give it a name of its own, such as `the_{name}`"))
        } else if let Some(constant) = Constant::named(name) {
            let error = error(format!("`{name}` is {}", constant.kind.one()));
            error.label("has a meaning already").note(format!("`{name}`: {}", constant.doc))
        } else if WORDS.contains(&name.to_ascii_lowercase().as_str()) {
            error(format!("`{name}` is a word of the language")).label("has a meaning already")
        } else {
            return true;
        };
        self.errors.push(error);
        false
    }

    /// What a name is said to stand for; `None` after an error.
    fn written(&mut self, value: &Spanned<DeValue<'_>>) -> Option<(String, Meaning)> {
        let source = self.source;
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            // Numbers are written alike in both languages.
            DeValue::Integer(_) => source.slice(&value.span()).to_owned(),
            DeValue::Array(_) => {
                let written = source.slice(&value.span()).replace(['"', '\''], "");
                let set = written.trim_matches(['[', ']']).split_whitespace().collect::<Vec<_>>().join(" ");
                let error = self.wrong_type(value, "a constant or a set", EXPECTED);
                self.errors
                    .push(error.help(format!("sets are written in braces, in one string: `\"{{{set}}}\"`")));
                return None;
            }
            _ => {
                let error = self.wrong_type(value, "a constant or a set", EXPECTED);
                self.errors.push(error);
                return None;
            }
        };
        match parse::meaning(source, &Excerpt::new(source, &text, value.span())) {
            Ok(meaning) => Some((text, meaning)),
            Err(errors) => {
                self.errors.extend(errors);
                None
            }
        }
    }

    /// Looks at a definition, and before at those that it is made of. `open` are those that wait for it.
    fn definition<'t>(
        &mut self,
        name: &'t str,
        written: &mut BTreeMap<&'t str, Written<'t>>,
        open: &mut Vec<&'t str>,
        elements: &mut usize,
    ) {
        let Some(Written { key, text, span, meaning }) = written.remove(name) else { return };
        let used: BTreeSet<String> = meaning.names().into_iter().map(str::to_owned).collect();
        open.push(name);
        let mut is_sound = true;
        for used in &used {
            if let Some(from) = open.iter().position(|open| open == used) {
                let chain = open[from..].iter().copied().chain([used.as_str()]);
                let chain: Vec<_> = chain.map(|name| format!("`{name}`")).collect();
                let message = format!("`{name}` is made of itself: {}", chain.join(" uses "));
                self.errors.push(self.error(Code::Circular, key.span(), message).label("no end to it"));
                is_sound = false;
            } else if open.len() > DEEP {
                let error =
                    self.error(Code::TooDeep, key.span(), "definitions that use each other too deeply");
                self.errors.push(error.expected(format!("at most {DEEP} levels")));
                is_sound = false;
            } else if let Some((&next, _)) = written.get_key_value(used.as_str()) {
                self.definition(next, written, open, elements);
            }
        }
        open.pop();
        self.used.extend(used);
        let excerpt = Excerpt::new(self.source, &text, span);
        let mut looking = Looking {
            source: self.source,
            excerpt: &excerpt,
            names: &self.names,
            elements,
            errors: Vec::new(),
        };
        let means = if is_sound { looking.meaning(&meaning) } else { None };
        let errors = looking.errors;
        self.errors.extend(errors);
        match self.names.get(name) {
            Some(other) if means.as_ref().is_some_and(|means| *means != other.means) => {
                let message = format!("`{name}` has a meaning already, in `{}`", other.source.name);
                let error = self.error(Code::Taken, key.span(), message).label("another meaning");
                let error = error.also_in(&other.source, other.span.clone(), "defined here");
                let error = error.note("rules there would be read differently from what they say");
                self.errors.push(error.help("give this one a name of its own"));
            }
            _ => self.define(key, &text, means.unwrap_or(Defined::Broken)),
        }
    }

    fn define(&mut self, key: &Key<'_>, text: &str, means: Defined) {
        let (origin, source, span) = (self.origin(key, text), Arc::clone(self.source), key.span());
        let definition = Definition { means, origin, source, span };
        self.names.insert(key.get_ref().to_string(), Arc::new(definition));
    }

    /// Warnings about the file's own definitions that nothing uses.
    pub(super) fn unused(&self) -> Vec<Diagnostic> {
        let own = self.names.iter().filter(|(_, definition)| Arc::ptr_eq(&definition.source, self.source));
        let unused = own.filter(|(name, _)| !self.used.contains(*name));
        let warnings = unused.map(|(name, definition)| {
            let message = format!("nothing uses `{name}`");
            self.error(Code::Unused, definition.span.clone(), message).label("defined for nothing")
        });
        warnings.collect()
    }
}

impl Meaning {
    fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        match self {
            Self::One(expr) => expr.names(&mut names),
            Self::Set(elements) => elements.iter().for_each(|element| element.names(&mut names)),
        }
        names
    }
}

/// A definition that is being looked at. Methods that give `None` have reported why.
struct Looking<'l> {
    source: &'l Arc<Source>,
    excerpt: &'l Excerpt<'l>,
    names: &'l Names,
    elements: &'l mut usize,
    errors: Vec<Diagnostic>,
}

impl Looking<'_> {
    fn error(&self, code: Code, span: &Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(self.source, code, self.excerpt.span(span), message)
    }

    fn report<T>(&mut self, error: Diagnostic) -> Option<T> {
        self.errors.push(error);
        None
    }

    fn text(&self, span: &Span) -> &str {
        &self.excerpt.text[span.clone()]
    }

    fn meaning(&mut self, meaning: &Meaning) -> Option<Defined> {
        match meaning {
            Meaning::One(expr) => self.one(expr),
            Meaning::Set(elements) => self.set(elements).map(Defined::Set),
        }
    }

    fn one(&mut self, expr: &Expr) -> Option<Defined> {
        match &expr.kind {
            ExprKind::Network(network) => Some(Defined::Network(*network)),
            ExprKind::Name(name) => match self.names.get(name).map(|definition| &definition.means) {
                Some(Defined::Broken) => None,
                Some(means) => Some(means.clone()),
                None => self.number(expr).map(Defined::Number),
            },
            _ => {
                self.refuse_difference(expr)?;
                self.number(expr).map(Defined::Number)
            }
        }
    }

    /// `80-90` was meant as a range.
    fn refuse_difference(&mut self, expr: &Expr) -> Option<()> {
        let Some((first, last)) = expr.as_range() else { return Some(()) };
        let message = format!("`{}` is a difference, which wraps below 0", self.text(&expr.span));
        let error = self.error(Code::Constant, &expr.span, message);
        self.report(
            error.label("a number that is never meant").help(format!("a range is `{first}..={last}`")),
        )
    }

    /// The elements of a set, which are numbers of one kind, or addresses.
    fn set(&mut self, elements: &[Element]) -> Option<Vec<Item>> {
        let mut items: Vec<Item> = Vec::new();
        let (mut seen, mut is_sound) = (HashSet::new(), true);
        let mut first: Option<(Item, Span)> = None;
        for element in elements {
            let (span, Some(of_element)) = (element.span(), self.items(element)) else {
                is_sound = false;
                continue;
            };
            *self.elements += of_element.len();
            if *self.elements > MOST {
                let message = format!("the sets of this file have more than {MOST} elements");
                let error = self.error(Code::NotConstant, &span, message);
                return self.report(error.label("too many"));
            }
            // One element speaks for a set that is a part: that has been looked at.
            if let Some(item) = of_element.iter().find(|item| item.kind().is_some()).or(of_element.first()) {
                is_sound &= self.alike(&mut first, *item, &span).is_some();
            }
            items.extend(of_element.into_iter().filter(|item| seen.insert(*item)));
        }
        is_sound.then_some(items)
    }

    /// Refuses an element that does not go with the `first`.
    fn alike(&mut self, first: &mut Option<(Item, Span)>, item: Item, span: &Span) -> Option<()> {
        let Some((before, beside)) = first else {
            *first = Some((item, span.clone()));
            return Some(());
        };
        let text = self.text(span);
        let error = match (*before, item) {
            (Item::Network(_), Item::Network(_)) => return Some(()),
            (Item::Range(..), Item::Range(..)) => match (before.kind(), item.kind()) {
                (Some(kind), Some(other)) if kind != other => {
                    let message =
                        format!("`{text}` is {}, but `{}` is {}", other.one(), self.text(beside), kind.one());
                    self.error(Code::OtherKind, span, message).label(other.one())
                }
                (None, Some(_)) => {
                    *first = Some((item, span.clone()));
                    return Some(());
                }
                _ => return Some(()),
            },
            (Item::Network(_), Item::Range(..)) => {
                let message = format!("`{text}` is not an address, but `{}` is", self.text(beside));
                self.error(Code::NotAnAddress, span, message).label("a number")
            }
            (Item::Range(..), Item::Network(_)) => {
                let message = format!("`{text}` is an address, but `{}` is not", self.text(beside));
                self.error(Code::NotAnAddress, span, message).label("an address")
            }
        };
        let beside = self.excerpt.span(beside);
        self.report(error.also(beside, "in the same set"))
    }

    fn items(&mut self, element: &Element) -> Option<Vec<Item>> {
        let Some(last) = &element.last else {
            return Some(match self.one(&element.first)? {
                Defined::Number(number) => vec![Item::Range(number, number)],
                Defined::Network(network) => vec![Item::Network(network)],
                Defined::Set(items) => items,
                Defined::Broken => return None,
            });
        };
        let (first, last) = (self.number(&element.first), self.number(last));
        let (first, last) = (first?, last?);
        let span = element.span();
        if first.kind.zip(last.kind).is_some_and(|(first, last)| first != last) {
            let error = self.error(Code::OtherKind, &span, "the two ends are of two kinds");
            return self.report(error.label("a range"));
        }
        if first.value(Width::W64) > last.value(Width::W64) {
            let error = self.error(Code::EmptySet, &span, format!("`{}` holds nothing", self.text(&span)));
            return self.report(error.label("the first number is the larger one"));
        }
        Some(vec![Item::Range(first, last)])
    }

    fn number(&mut self, expr: &Expr) -> Option<Fixed> {
        match &expr.kind {
            ExprKind::Number(value) => Some(Fixed::plain(*value)),
            ExprKind::Name(name) => self.named(expr, name),
            ExprKind::Complement(inner) => {
                let number = self.number(inner)?;
                self.refuse_enumeration_bits("~", inner, number)?;
                Some(number.complement())
            }
            ExprKind::Arithmetic(op, left, right) => {
                let (l, r) = (self.number(left), self.number(right));
                let (l, r) = (l?, r?);
                self.arithmetic(*op, (left, l), (right, r))
            }
            ExprKind::Network(_) => {
                let message = format!("`{}` is an address, not a number", self.text(&expr.span));
                let error = self.error(Code::NotAnAddress, &expr.span, message);
                self.report(error.label("an address"))
            }
            ExprKind::Bad => None,
            _ => {
                let message = format!("`{}` is a condition", self.text(&expr.span));
                let error = self.error(Code::NotConstant, &expr.span, message).label("true or false");
                self.report(error.expected(EXPECTED))
            }
        }
    }

    fn arithmetic(&mut self, op: Arithmetic, left: (&Expr, Fixed), right: (&Expr, Fixed)) -> Option<Fixed> {
        if matches!(op, Arithmetic::Shl | Arithmetic::Shr) {
            let by = right.1.value(Width::W64).filter(|by| *by < 64);
            if by.is_none() {
                let message = format!("no shift by `{}`", self.text(&right.0.span));
                let error = self.error(Code::Shift, &right.0.span, message);
                return self.report(error.expected("a constant from 0 to 63"));
            }
            return Some(Fixed::apply(op, left.1, right.1));
        }
        if let Some((kind, other)) = left.1.kind.zip(right.1.kind).filter(|(left, right)| left != right) {
            let [l, r] = [left, right].map(|(expr, _)| self.text(&expr.span).to_owned());
            let message = format!("`{r}` is {}, but `{l}` is {}", other.one(), kind.one());
            let error = self.error(Code::OtherKind, &right.0.span, message).label(other.one());
            let beside = self.excerpt.span(&left.0.span);
            return self.report(error.also(beside, kind.one()));
        }
        if matches!(op, Arithmetic::And | Arithmetic::Or | Arithmetic::Xor) {
            self.refuse_enumeration_bits(op.symbol(), left.0, left.1)?;
            self.refuse_enumeration_bits(op.symbol(), right.0, right.1)?;
        }
        Some(Fixed::apply(op, left.1, right.1))
    }

    fn refuse_enumeration_bits(&mut self, op: &str, expr: &Expr, number: Fixed) -> Option<()> {
        let Some(kind) = number.kind.filter(|kind| kind.is_enumeration()) else { return Some(()) };
        let text = self.text(&expr.span);
        let message = format!("`{text}` is a number, not a bit: `{op}` says nothing about it");
        let error = self.error(Code::NotBits, &expr.span, message).label(kind.one());
        let help = (op == "|").then(|| format!("several of them are a set: `{{{text}, ...}}`"));
        self.report(help.into_iter().fold(error, Diagnostic::help))
    }

    fn named(&mut self, expr: &Expr, name: &str) -> Option<Fixed> {
        let error = match self.names.get(name).map(|definition| &definition.means) {
            Some(Defined::Number(number)) => return Some(*number),
            Some(Defined::Broken) => return None,
            Some(Defined::Network(_)) => {
                let error = self.error(
                    Code::NotAnAddress,
                    &expr.span,
                    format!("`{name}` is an address, not a number"),
                );
                error.label("an address")
            }
            Some(Defined::Set(_)) => {
                let error =
                    self.error(Code::NotANumber, &expr.span, format!("`{name}` is a set, not a number"));
                error.label("a set").help(format!("sets are joined in braces: `{{{name}, ...}}`"))
            }
            None => match Constant::named(name) {
                Some(constant) => return Some(Fixed::constant(constant)),
                None => self.unknown(expr, name),
            },
        };
        self.report(error)
    }

    fn unknown(&self, expr: &Expr, name: &str) -> Diagnostic {
        if FIELDS.iter().any(|field| field.name == name) {
            let message = format!("`{name}` is a field: what it holds differs between requests");
            let error = self.error(Code::NotConstant, &expr.span, message).label("not constant");
            return error.expected(EXPECTED).note("conditions stand in the rules of `[ops]`");
        }
        let error = self.error(Code::UnknownName, &expr.span, format!("unknown name `{name}`"));
        let error = error.label("neither a constant nor defined");
        let names =
            self.names.keys().map(String::as_str).chain(CONSTANTS.iter().map(|constant| constant.name));
        match suggest::closest(name, names) {
            Some(closest) => error.help(format!("did you mean `{closest}`?")),
            None => error.expected(EXPECTED),
        }
    }
}

impl Item {
    pub(crate) fn kind(self) -> Option<Kind> {
        match self {
            Self::Range(first, last) => first.kind.or(last.kind),
            Self::Network(_) => None,
        }
    }
}
