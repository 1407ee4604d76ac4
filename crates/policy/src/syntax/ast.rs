//! Expressions as written: names are not resolved, nothing is typed.

use crate::diagnostic::source::Span;
use crate::syntax::network::Network;

/// An expression and the bytes of the text that it takes, its own brackets included.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expr {
    pub(crate) kind: ExprKind,
    pub(crate) span: Span,
}

/// What an expression is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ExprKind {
    Number(u64),
    Name(String),
    Network(Network),
    /// What is no expression, and has been reported.
    Bad,
    /// `!a`.
    Not(Box<Expr>),
    /// `~a`.
    Complement(Box<Expr>),
    Arithmetic(Arithmetic, Box<Expr>, Box<Expr>),
    Compare(Comparison, Box<Expr>, Box<Expr>),
    In(Box<Expr>, Vec<Element>),
    /// `a in name`.
    Among(Box<Expr>, Box<Expr>),
    /// `a && b && …`, at least two.
    All(Vec<Expr>),
    /// `a || b || …`, at least two.
    Any(Vec<Expr>),
}

impl Expr {
    /// The names in it.
    pub(crate) fn names<'e>(&'e self, names: &mut Vec<&'e str>) {
        match &self.kind {
            ExprKind::Name(name) => names.push(name),
            ExprKind::Number(_) | ExprKind::Network(_) | ExprKind::Bad => {}
            ExprKind::Not(inner) | ExprKind::Complement(inner) => inner.names(names),
            ExprKind::Arithmetic(_, left, right)
            | ExprKind::Compare(_, left, right)
            | ExprKind::Among(left, right) => {
                left.names(names);
                right.names(names);
            }
            ExprKind::In(left, elements) => {
                left.names(names);
                elements.iter().for_each(|element| element.names(names));
            }
            ExprKind::All(parts) | ExprKind::Any(parts) => parts.iter().for_each(|part| part.names(names)),
        }
    }

    /// The ends of what was perhaps meant as a range: `80-90`.
    pub(crate) fn as_range(&self) -> Option<(u64, u64)> {
        let ExprKind::Arithmetic(Arithmetic::Sub, left, right) = &self.kind else { return None };
        match (&left.kind, &right.kind) {
            (ExprKind::Number(first), ExprKind::Number(last)) if first < last => Some((*first, *last)),
            _ => None,
        }
    }
}

/// What a name stands for, as written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Meaning {
    /// A number or an address.
    One(Expr),
    /// A set, or a single range.
    Set(Vec<Element>),
}

/// A part of a set: one value, or a range with both ends.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Element {
    pub(crate) first: Expr,
    pub(crate) last: Option<Expr>,
}

impl Element {
    /// The names in it.
    pub(crate) fn names<'e>(&'e self, names: &mut Vec<&'e str>) {
        self.first.names(names);
        self.last.iter().for_each(|last| last.names(names));
    }

    pub(crate) fn span(&self) -> Span {
        self.first.span.start..self.last.as_ref().unwrap_or(&self.first).span.end
    }
}

/// An operator that makes a number of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Or,
    Xor,
    And,
    Shl,
    Shr,
    Add,
    Sub,
}

impl Arithmetic {
    /// The operator of that symbol and how tightly it binds.
    pub(crate) fn of(symbol: &str) -> Option<(Self, u8)> {
        Some(match symbol {
            "|" => (Self::Or, 1),
            "^" => (Self::Xor, 2),
            "&" => (Self::And, 3),
            "<<" => (Self::Shl, 4),
            ">>" => (Self::Shr, 4),
            "+" => (Self::Add, 5),
            "-" => (Self::Sub, 5),
            _ => return None,
        })
    }

    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Or => "|",
            Self::Xor => "^",
            Self::And => "&",
            Self::Shl => "<<",
            Self::Shr => ">>",
            Self::Add => "+",
            Self::Sub => "-",
        }
    }
}

/// An operator that makes a condition of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Comparison {
    pub(crate) fn of(symbol: &str) -> Option<Self> {
        Some(match symbol {
            "==" => Self::Eq,
            "!=" => Self::Ne,
            "<" => Self::Lt,
            "<=" => Self::Le,
            ">" => Self::Gt,
            ">=" => Self::Ge,
            _ => return None,
        })
    }

    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
        }
    }
}
