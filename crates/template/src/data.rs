//! The values expressions compute with: JSON whose containers are shared, so that copying one costs nothing.
//!
//! Integers beyond 64 bits with sign become floating point, as everywhere else in the template language.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Number, Value};

/// A JSON value with shared containers.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    Array(Arc<Array>),
    Object(Arc<Object>),
}

/// An array that knows how large it would be written out.
///
/// Shared containers make a value of a few bytes expand to gigabytes; the size and the depth are therefore kept with
/// each container and checked wherever one is made.
#[derive(Debug)]
pub(crate) struct Array {
    pub(crate) items: Vec<Data>,
    weight: u64,
    depth: u32,
}

/// An object in the order of its source, found exactly first and then ignoring ASCII case, as ARM does.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) entries: Vec<(Arc<str>, Data)>,
    index: Option<HashMap<String, usize>>,
    weight: u64,
    depth: u32,
}

impl Data {
    pub(crate) fn text(text: impl AsRef<str>) -> Self {
        Self::Text(Arc::from(text.as_ref()))
    }

    pub(crate) fn array(items: Vec<Self>) -> Self {
        let weight = items.iter().fold(2, |sum: u64, item| sum.saturating_add(item.weight()).saturating_add(1));
        let depth = items.iter().map(Self::depth).max().unwrap_or(0).saturating_add(1);
        Self::Array(Arc::new(Array { items, weight, depth }))
    }

    pub(crate) fn object(entries: Vec<(Arc<str>, Self)>) -> Self {
        Self::Object(Arc::new(Object::new(entries)))
    }

    /// An object of a few named members.
    pub(crate) fn record<const N: usize>(members: [(&str, Self); N]) -> Self {
        Self::object(members.into_iter().map(|(name, value)| (Arc::from(name), value)).collect())
    }

    /// Bytes of the value as JSON text, roughly.
    pub(crate) fn weight(&self) -> u64 {
        match self {
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) => 8,
            Self::Text(text) => text.len() as u64 + 2,
            Self::Array(array) => array.weight,
            Self::Object(object) => object.weight,
        }
    }

    /// Bytes the value takes besides what it shares with others.
    pub(crate) fn own_bytes(&self) -> u64 {
        match self {
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) => 0,
            Self::Text(text) => text.len() as u64,
            Self::Array(array) => array.items.len() as u64 * 24,
            Self::Object(object) => object.entries.len() as u64 * 100,
        }
    }

    pub(crate) fn depth(&self) -> u32 {
        match self {
            Self::Array(array) => array.depth,
            Self::Object(object) => object.depth,
            _ => 0,
        }
    }

    /// The type in the words of the template language.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Text(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(array) => Some(&array.items),
            _ => None,
        }
    }

    pub(crate) fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The member of an object; `None` for anything else.
    pub(crate) fn member(&self, name: &str) -> Option<&Self> {
        self.as_object().and_then(|object| object.find(name))
    }

    /// Deep equality; strings are compared with their case, as `equals()` does.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            #[expect(clippy::cast_precision_loss, reason = "an integer equals a float only where both are exact")]
            (Self::Int(a), Self::Float(b)) | (Self::Float(b), Self::Int(a)) => (*a as f64).to_bits() == b.to_bits(),
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => {
                Arc::ptr_eq(a, b)
                    || a.items.len() == b.items.len() && a.items.iter().zip(&b.items).all(|(a, b)| a.same(b))
            }
            (Self::Object(a), Self::Object(b)) => {
                Arc::ptr_eq(a, b)
                    || a.entries.len() == b.entries.len()
                        && a.entries.iter().all(|(name, value)| b.exact(name).is_some_and(|other| value.same(other)))
            }
            _ => false,
        }
    }

    /// The value as text inside a string: `concat`, `string`, `format`. Containers become compact JSON.
    pub(crate) fn display(&self) -> String {
        match self {
            Self::Null => String::new(),
            // .NET prints booleans with a capital; the template language inherits it.
            Self::Bool(true) => "True".to_owned(),
            Self::Bool(false) => "False".to_owned(),
            Self::Int(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Text(text) => text.to_string(),
            Self::Array(_) | Self::Object(_) => self.json(),
        }
    }

    /// The value as compact JSON text, members in their own order.
    pub(crate) fn json(&self) -> String {
        let mut text = String::new();
        self.write_json(&mut text);
        text
    }

    fn write_json(&self, text: &mut String) {
        match self {
            Self::Array(array) => {
                text.push('[');
                for (position, item) in array.items.iter().enumerate() {
                    text.push_str(if position == 0 { "" } else { "," });
                    item.write_json(text);
                }
                text.push(']');
            }
            Self::Object(object) => {
                text.push('{');
                for (position, (name, value)) in object.entries.iter().enumerate() {
                    text.push_str(if position == 0 { "" } else { "," });
                    write_string(name, text);
                    text.push(':');
                    value.write_json(text);
                }
                text.push('}');
            }
            Self::Text(string) => write_string(string, text),
            scalar => text.push_str(&scalar.to_value().to_string()),
        }
    }

    /// The value written out. Cheap only for values whose weight has been checked.
    pub(crate) fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(number) => Value::from(*number),
            Self::Float(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
            Self::Text(text) => Value::String(text.to_string()),
            Self::Array(array) => Value::Array(array.items.iter().map(Self::to_value).collect()),
            Self::Object(object) => {
                object.entries.iter().map(|(name, value)| (name.to_string(), value.to_value())).collect()
            }
        }
    }

    /// As [`Self::to_value`], without the members that are null: ARM sends a resource provider no nulls.
    pub(crate) fn to_body(&self) -> Value {
        match self {
            Self::Array(array) => Value::Array(array.items.iter().map(Self::to_body).collect()),
            Self::Object(object) => object
                .entries
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name.to_string(), value.to_body()))
                .collect::<Map<_, _>>()
                .into(),
            other => other.to_value(),
        }
    }
}

impl From<&Value> for Data {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => match number.as_i64() {
                Some(number) => Self::Int(number),
                None => Self::Float(number.as_f64().unwrap_or(0.0)),
            },
            Value::String(text) => Self::text(text),
            Value::Array(items) => Self::array(items.iter().map(Self::from).collect()),
            Value::Object(map) => {
                Self::object(map.iter().map(|(name, value)| (Arc::from(name.as_str()), Self::from(value))).collect())
            }
        }
    }
}

impl Object {
    pub(crate) fn new(entries: Vec<(Arc<str>, Data)>) -> Self {
        let weight = entries.iter().fold(2, |sum: u64, (name, value)| {
            sum.saturating_add(value.weight()).saturating_add(name.len() as u64 + 4)
        });
        let depth = entries.iter().map(|(_, value)| value.depth()).max().unwrap_or(0).saturating_add(1);
        let index = (entries.len() > SMALL).then(|| {
            let mut index = HashMap::with_capacity(entries.len());
            for (position, (name, _)) in entries.iter().enumerate() {
                index.entry(name.to_ascii_lowercase()).or_insert(position);
            }
            index
        });
        Self { entries, index, weight, depth }
    }

    /// The member with exactly this name, else the first that differs from it only in ASCII case.
    pub(crate) fn find(&self, name: &str) -> Option<&Data> {
        let loose = match &self.index {
            Some(index) => self.entries.get(*index.get(&name.to_ascii_lowercase())?),
            None => self.entries.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)),
        }?;
        if &*loose.0 == name {
            return Some(&loose.1);
        }
        Some(self.entries.iter().find(|(other, _)| &**other == name).map_or(&loose.1, |(_, value)| value))
    }

    fn exact(&self, name: &str) -> Option<&Data> {
        match &self.index {
            Some(index) => {
                let first = self.entries.get(*index.get(&name.to_ascii_lowercase())?)?;
                if &*first.0 == name {
                    return Some(&first.1);
                }
                self.entries.iter().find(|(other, _)| &**other == name).map(|(_, value)| value)
            }
            None => self.entries.iter().find(|(other, _)| &**other == name).map(|(_, value)| value),
        }
    }

    /// The names, for error messages: the first few.
    pub(crate) fn names(&self) -> String {
        let mut names: Vec<&str> = self.entries.iter().take(20).map(|(name, _)| &**name).collect();
        if self.entries.len() > names.len() {
            names.push("...");
        }
        names.join(", ")
    }
}

/// An object under construction: a second member of the same name replaces the first in its place.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    entries: Vec<(Arc<str>, Data)>,
    positions: HashMap<Arc<str>, usize>,
}

impl Fields {
    pub(crate) fn put(&mut self, name: Arc<str>, value: Data) {
        if let Some(entry) = self.positions.get(&name).and_then(|position| self.entries.get_mut(*position)) {
            entry.1 = value;
        } else {
            self.positions.insert(name.clone(), self.entries.len());
            self.entries.push((name, value));
        }
    }

    pub(crate) fn value(&self, name: &str) -> Option<&Data> {
        self.positions.get(name).and_then(|position| self.entries.get(*position)).map(|(_, value)| value)
    }

    pub(crate) fn finish(self) -> Data {
        Data::object(self.entries)
    }
}

fn write_string(string: &str, text: &mut String) {
    // Most strings need no escapes.
    if string.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        text.push('"');
        text.push_str(string);
        text.push('"');
    } else {
        text.push_str(&Value::from(string).to_string());
    }
}

/// Objects up to this many members are searched in line; larger ones get an index.
const SMALL: usize = 8;
