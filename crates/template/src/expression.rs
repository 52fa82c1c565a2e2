//! The syntax tree of a template expression, and its printed form.

use std::fmt;
use std::sync::Arc;

use crate::functions::Function;

/// A parsed expression: the text between `[` and `]` of a template string.
#[derive(Debug, Clone)]
pub(crate) struct Expression {
    /// JSON path of the string the expression stands in.
    pub(crate) place: Arc<str>,
    pub(crate) root: Term,
}

/// One step of an expression and the byte offset it starts at, counted from the opening bracket.
#[derive(Debug, Clone)]
pub(crate) struct Term {
    pub(crate) offset: usize,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Text(Arc<str>),
    Int(i64),
    /// A function of the language.
    Call(Call),
    /// A function of the template: `namespace.name(...)`.
    UserCall {
        name: String,
        arguments: Vec<Term>,
    },
    /// `.name`, or `.?name` which is null where there is none.
    Property {
        of: Box<Term>,
        name: Arc<str>,
        safe: bool,
    },
    /// `[index]`, or `[?index]`.
    Index {
        of: Box<Term>,
        index: Box<Term>,
        safe: bool,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The name as written: functions of the `list*` family share one [`Function`].
    pub(crate) name: Arc<str>,
    pub(crate) function: &'static Function,
    pub(crate) arguments: Vec<Term>,
    pub(crate) offset: usize,
}

/// Prints the expression in one canonical form that parses back to the same tree.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.root)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
            Kind::Int(number) => write!(f, "{number}"),
            Kind::Call(call) => write_call(f, &call.name, &call.arguments),
            Kind::UserCall { name, arguments } => write_call(f, name, arguments),
            Kind::Property { of, name, safe } => write!(f, "{of}.{}{name}", if *safe { "?" } else { "" }),
            Kind::Index { of, index, safe } => write!(f, "{of}[{}{index}]", if *safe { "?" } else { "" }),
        }
    }
}

fn write_call(f: &mut fmt::Formatter<'_>, name: &str, arguments: &[Term]) -> fmt::Result {
    write!(f, "{name}(")?;
    for (position, argument) in arguments.iter().enumerate() {
        let separator = if position == 0 { "" } else { ", " };
        write!(f, "{separator}{argument}")?;
    }
    f.write_str(")")
}
