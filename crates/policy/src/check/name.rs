//! Names, and the kinds of the values that they stand for.

use super::{Checker, Number};
use crate::check::cond::{Value, Width};
use crate::data::constant::{CONSTANTS, Constant};
use crate::data::field::{FIELDS, Field};
use crate::data::kind::Kind;
use crate::diagnostic::suggest;
use crate::diagnostic::{Code, Diagnostic};
use crate::syntax::ast::{Expr, ExprKind};

/// What can be said of files instead is how they are opened, and below which directory.
const PATH: &str = "kernels do not show paths to filters; `resolve & RESOLVE_BENEATH` of openat2 keeps a \
    program below the directory that it opens from, and a mount namespace decides what it finds";

/// What people look for and filters do not see, and why.
const UNSEEN: &[(&str, &str)] = &[
    ("offset", "where operations have an offset, it is `off`"),
    ("path", PATH),
    ("pathname", PATH),
    ("filename", PATH),
    ("file", PATH),
    ("name", PATH),
    ("dir", PATH),
    ("host", "kernels show addresses to filters, and no names: `addr`"),
    ("hostname", "kernels show addresses to filters, and no names: `addr`"),
    ("domain", "the domain of a socket is its `family`; kernels do not show names of hosts"),
    ("dst", "the address to connect to is `addr`"),
    ("daddr", "the address to connect to is `addr`"),
    ("ip", "the address to connect to is `addr`"),
    ("address", "the address to connect to is `addr`"),
    ("gid", "filters see the request, not who makes it"),
    ("user", "filters see the request, not who makes it"),
    ("opcode", "the key of the rule says which operation it is for"),
    ("uid", "filters see the request, not who makes it"),
    ("pid", "filters see the request, not who makes it"),
];

impl Checker<'_> {
    /// A constant that is a number among others has no bits to speak of.
    pub(super) fn refuse_enumeration_bits(&mut self, op: &str, expr: &Expr, number: &Number) -> Option<()> {
        let name = match &expr.kind {
            ExprKind::Name(name) if matches!(number.value, Value::Const(_)) => Some(name),
            _ => None,
        };
        let Some((constant, kind)) = name.zip(number.kind).filter(|(_, kind)| kind.is_enumeration()) else {
            return Some(());
        };
        let message = format!("`{constant}` is a number, not a bit: `{op}` says nothing about it");
        let error = self.error(Code::NotBits, &expr.span, message).label(kind.one());
        let field = Field::all_of(self.operation).find(|field| field.kind == kind);
        self.report(match field {
            Some(Field { name, .. }) => {
                error.help(format!("compare: `{name} == {constant}` or `{name} in {{{constant}, ...}}`"))
            }
            None => error,
        })
    }

    pub(super) fn name(&mut self, expr: &Expr, name: &str, width: Width) -> Option<Number> {
        if let Some(field) = Field::of(self.operation, name) {
            if field.kind == Kind::Address {
                let error = self.error(
                    Code::NotAnAddress,
                    &expr.span,
                    format!("`{name}` is an address, not a number"),
                );
                return self
                    .report(error.label("an address").help(format!("`{name} in {{10.0.0.0/8, fd00::/8}}`")));
            }
            return Some(Number { value: Value::Field(field), kind: Some(field.kind) });
        }
        if let Some(constant) = Constant::named(name) {
            return Some(Number { value: Value::Const(constant.value), kind: Some(constant.kind) });
        }
        if let Some(definition) = self.definition(expr) {
            return self.defined(expr, definition, width);
        }
        let error = self.unknown_name(expr, name);
        self.report(error)
    }

    pub(super) fn unknown_name(&self, expr: &Expr, name: &str) -> Diagnostic {
        let mut owners: Vec<_> =
            FIELDS.iter().filter(|field| field.name == name).flat_map(|field| field.operations).collect();
        owners.sort_unstable();
        if !owners.is_empty() {
            let owners: Vec<_> = owners.iter().map(|op| op.to_string()).collect();
            let owners = match &owners[..] {
                few @ ([_] | [_, _] | [_, _, _]) => few.join(" and "),
                _ => "other operations".to_owned(),
            };
            let message = format!("`{name}` is a field of {owners}, not of {}", self.operation);
            return self
                .error(Code::OtherOperation, &expr.span, message)
                .label(format!("{} has no such field", self.operation))
                .expected(self.fields());
        }
        let error = self.error(Code::UnknownName, &expr.span, format!("unknown name `{name}`"));
        let error = error.label("neither a field nor a constant");
        match name {
            "true" => return error.help("a rule that always allows is the word `\"allow\"`"),
            "false" => return error.help("a rule that always refuses is the word `\"deny\"`"),
            "allow" | "deny" => {
                return error
                    .help("`\"allow\"` and `\"deny\"` are whole rules; conditions have no words for them");
            }
            "localhost" => {
                return error
                    .note("names are not resolved")
                    .help("this machine is `addr in {127.0.0.0/8, ::1}`");
            }
            "O_LARGEFILE" => {
                return error.help(
                    "the kernel sets O_LARGEFILE on almost every request, so `flags` is shown without it",
                );
            }
            _ => {}
        }
        if let Some((_, reason)) = UNSEEN.iter().find(|(unseen, _)| *unseen == name) {
            return error.note(*reason).expected(self.fields());
        }
        if name.len() > 1 && name.chars().all(|c| c.is_ascii_hexdigit()) {
            return error.help(format!("hexadecimal is written `0x{name}`"));
        }
        let names =
            Field::all_of(self.operation).map(|field| field.name).chain(CONSTANTS.iter().map(|c| c.name));
        let names = names.chain(self.names.keys().map(String::as_str));
        let is_whole = self.excerpt.text.trim() == name;
        let words = ["allow", "deny"].into_iter().filter(|_| is_whole);
        match suggest::closest(name, words.chain(names)) {
            Some(closest) => error.help(format!("did you mean `{closest}`?")),
            None => error.expected(self.fields()),
        }
    }

    /// The fields of this operation, for people.
    fn fields(&self) -> String {
        let names: Vec<_> = Field::all_of(self.operation).map(|field| format!("`{}`", field.name)).collect();
        let more = if names.len() > 2 { "" } else { ", the fields of every operation" };
        format!("{}{more}", names.join(", "))
    }

    /// Which field of this operation holds that kind of value, for people.
    pub(super) fn who_has(&self, kind: Kind) -> String {
        match Field::all_of(self.operation).find(|field| field.kind == kind) {
            Some(field) => format!("`{}` holds {}", field.name, kind.noun()),
            None => format!("no field of {} holds {}", self.operation, kind.noun()),
        }
    }

    /// Two numbers that meet must be of one kind, or one of them plain.
    pub(super) fn agree(&mut self, left: (&Expr, &Number), right: (&Expr, &Number)) -> Option<()> {
        let (Some(left_kind), Some(right_kind)) = (left.1.kind, right.1.kind) else { return Some(()) };
        if left_kind == right_kind {
            return Some(());
        }
        // The constant is the mistake more often than the field.
        let left_is_wrong =
            matches!(left.1.value, Value::Const(_)) && !matches!(right.1.value, Value::Const(_));
        let (wrong, wrong_kind, good, good_kind) = if left_is_wrong {
            (left.0, left_kind, right.0, right_kind)
        } else {
            (right.0, right_kind, left.0, left_kind)
        };
        let clause = |expr: &Expr, kind: Kind| match expr.kind {
            ExprKind::Name(ref name) if Constant::named(name).is_some() => {
                format!("`{name}` is {}", kind.one())
            }
            _ => format!("`{}` holds {}", self.text(&expr.span), kind.noun()),
        };
        let message = format!("{}, but {}", clause(wrong, wrong_kind), clause(good, good_kind));
        let expected = match good_kind.constants() {
            Some(names) => format!("a number or one of {names}"),
            None => "a number".to_owned(),
        };
        let error = self
            .error(Code::OtherKind, &wrong.span, message)
            .label(wrong_kind.one())
            .also(self.excerpt.span(&good.span), good_kind.noun())
            .expected(expected);
        let error = match namesake(self.text(&wrong.span), good_kind) {
            Some(constant) => error.help(format!("did you mean `{}`?", constant.name)),
            None => error.note(self.who_has(wrong_kind)),
        };
        self.report(error)
    }
}

/// The constant of a kind that has the same name but for its prefix: SOCK_CLOEXEC for O_CLOEXEC.
fn namesake(name: &str, kind: Kind) -> Option<&'static Constant> {
    let (_, end) = name.split_once('_')?;
    CONSTANTS
        .iter()
        .filter(|constant| constant.kind == kind)
        .find(|constant| constant.name.split_once('_').is_some_and(|(_, other)| other == end))
}
