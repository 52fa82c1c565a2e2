//! A JSON value of a template with its expressions parsed: made once, evaluated as often as loops ask for it.

use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::data::Data;
use crate::error::TemplateError;
use crate::expression::Expression;
use crate::limits::Limits;
use crate::parser::{self, Meaning};

/// A value that may have expressions anywhere in it, also in the names of its members.
#[derive(Debug, Clone)]
pub(crate) enum Tree {
    /// A subtree without any expression, ready to be shared.
    Literal(Data),
    Expression(Arc<Expression>),
    Array(Vec<Tree>),
    Object(Vec<(Key, Tree)>),
    /// An array made by a loop: one member of a `copy` array.
    Loop(Box<Loop>),
}

#[derive(Debug, Clone)]
pub(crate) enum Key {
    Plain(Arc<str>),
    Expression(Arc<Expression>),
}

/// `{"name", "count", "input"}`.
#[derive(Debug, Clone)]
pub(crate) struct Loop {
    pub(crate) place: Arc<str>,
    pub(crate) name: Arc<str>,
    /// The loop of an output, which has no name of its own.
    pub(crate) nameless: bool,
    pub(crate) count: Tree,
    pub(crate) input: Tree,
}

/// The JSON path of a value while a document is walked, written out only when somebody needs it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    above: Option<&'a Place<'a>>,
    step: Step<'a>,
    depth: u32,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Start(&'a str),
    Member(&'a str),
    Item(usize),
}

impl<'a> Place<'a> {
    /// The start of a path: `$`, or the path of a document inside another.
    pub(crate) fn start(path: &'a str) -> Self {
        Self { above: None, step: Step::Start(path), depth: 0 }
    }

    pub(crate) fn member<'b>(&'b self, name: &'b str) -> Place<'b> {
        Place { above: Some(self), step: Step::Member(name), depth: self.depth + 1 }
    }

    pub(crate) fn item(&self, index: usize) -> Place<'_> {
        Place { above: Some(self), step: Step::Item(index), depth: self.depth + 1 }
    }

    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    pub(crate) fn invalid(&self, message: impl Into<String>) -> TemplateError {
        TemplateError::invalid(self.path(), message)
    }

    pub(crate) fn path(&self) -> String {
        let mut path = self.above.map(Place::path).unwrap_or_default();
        match self.step {
            Step::Start(start) => path.push_str(start),
            Step::Item(index) => {
                let _ = write!(path, "[{index}]");
            }
            Step::Member(name) => push_member(&mut path, name),
        }
        path
    }
}

/// Adds `.name`, or `['odd name']`.
pub(crate) fn push_member(path: &mut String, name: &str) {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'-'));
    let _ = if plain && !name.is_empty() { write!(path, ".{name}") } else { write!(path, "['{name}']") };
}

impl Tree {
    pub(crate) fn read(value: &Value, place: &Place<'_>, limits: &Limits) -> Result<Self, TemplateError> {
        if place.depth > limits.json_depth {
            let message = format!("The document is nested deeper than {} levels.", limits.json_depth);
            return Err(TemplateError::too_large(place.path(), message));
        }
        match value {
            Value::String(text) => Self::string(text, place, limits),
            Value::Array(items) => {
                let mut trees = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    trees.push(Self::read(item, &place.item(index), limits)?);
                }
                Ok(Self::fold_array(trees))
            }
            Value::Object(members) => Self::members(members, place, limits),
            scalar => Ok(Self::Literal(Data::from(scalar))),
        }
    }

    fn string(text: &str, place: &Place<'_>, limits: &Limits) -> Result<Self, TemplateError> {
        if !text.starts_with('[') {
            return Ok(Self::Literal(Data::text(text)));
        }
        Ok(match parser::read(text, &place.path(), limits)? {
            Meaning::Literal(text) => Self::Literal(Data::Text(text)),
            Meaning::Expression(expression) => Self::Expression(Arc::new(expression)),
        })
    }

    /// An object of a template; a member `copy` that lists loops becomes the arrays they make.
    pub(crate) fn members(
        members: &Map<String, Value>,
        place: &Place<'_>,
        limits: &Limits,
    ) -> Result<Self, TemplateError> {
        let mut entries = Vec::with_capacity(members.len());
        for (name, value) in members {
            let below = place.member(name);
            if name.eq_ignore_ascii_case("copy")
                && let Some(loops) = Loop::list(value, &below, limits)?
            {
                entries
                    .extend(loops.into_iter().map(|made| (Key::Plain(made.name.clone()), Self::Loop(Box::new(made)))));
                continue;
            }
            let key = if name.starts_with('[') {
                match parser::read(name, &below.path(), limits)? {
                    Meaning::Literal(text) => Key::Plain(text),
                    Meaning::Expression(expression) => Key::Expression(Arc::new(expression)),
                }
            } else {
                Key::Plain(Arc::from(name.as_str()))
            };
            entries.push((key, Self::read(value, &below, limits)?));
        }
        Ok(Self::fold_object(entries))
    }

    fn fold_array(trees: Vec<Self>) -> Self {
        if trees.iter().all(|tree| matches!(tree, Self::Literal(_))) {
            let items =
                trees.into_iter().filter_map(|tree| if let Self::Literal(data) = tree { Some(data) } else { None });
            return Self::Literal(Data::array(items.collect()));
        }
        Self::Array(trees)
    }

    fn fold_object(entries: Vec<(Key, Self)>) -> Self {
        if entries.iter().all(|entry| matches!(entry, (Key::Plain(_), Self::Literal(_)))) {
            let plain = entries.into_iter().filter_map(|entry| match entry {
                (Key::Plain(name), Self::Literal(data)) => Some((name, data)),
                _ => None,
            });
            return Self::Literal(Data::object(plain.collect()));
        }
        Self::Object(entries)
    }

    /// The member of an object, wherever the object is written out rather than computed.
    pub(crate) fn member(&self, name: &str) -> Option<Self> {
        match self {
            Self::Literal(data) => data.member(name).cloned().map(Self::Literal),
            Self::Object(entries) => entries.iter().find_map(|(key, tree)| match key {
                Key::Plain(plain) if plain.eq_ignore_ascii_case(name) => Some(tree.clone()),
                _ => None,
            }),
            _ => None,
        }
    }
}

impl Loop {
    /// The loops of a `copy` member, or `None` when the member is an ordinary property of that name.
    fn list(value: &Value, place: &Place<'_>, limits: &Limits) -> Result<Option<Vec<Self>>, TemplateError> {
        let Some(items) = value.as_array().filter(|items| {
            !items.is_empty() && items.iter().all(|item| item.get("name").is_some() && item.get("count").is_some())
        }) else {
            return Ok(None);
        };
        let mut loops = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            loops.push(Self::read(item, None, &place.item(index), limits)?);
        }
        Ok(Some(loops))
    }

    /// One loop; outputs have theirs without a name of its own.
    pub(crate) fn read(
        item: &Value,
        name: Option<&str>,
        place: &Place<'_>,
        limits: &Limits,
    ) -> Result<Self, TemplateError> {
        let nameless = name.is_some();
        let name = match (name, item.get("name")) {
            (_, Some(Value::String(name))) => name,
            (Some(name), None) => name,
            _ => return Err(place.invalid("A loop needs a 'name' that is a plain string.")),
        };
        let Some(count) = item.get("count") else {
            return Err(place.invalid(format!("The loop '{name}' needs a 'count'.")));
        };
        let Some(input) = item.get("input") else {
            return Err(place.invalid(format!("The loop '{name}' needs an 'input'.")));
        };
        Ok(Self {
            place: Arc::from(place.path()),
            name: Arc::from(name),
            nameless,
            count: Tree::read(count, &place.member("count"), limits)?,
            input: Tree::read(input, &place.member("input"), limits)?,
        })
    }
}
