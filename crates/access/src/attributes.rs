use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What conditions may ask about a request: named values from four sources.
///
/// A condition that asks for a name which is not here grants nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attributes {
    entries: Vec<(Source, String, Value)>,
}

/// Where an attribute is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Source {
    /// What the request brings with it: `@Request[...]`.
    Request,
    /// What is stored about the resource: `@Resource[...]`.
    Resource,
    /// What is known about who asks: `@Principal[...]`.
    Principal,
    /// Time and network: `@Environment[...]`.
    Environment,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text; also GUIDs, ids that end in one, addresses, dates and times of day, which operators read from it.
    Text(String),
    /// A whole number, the only kind that conditions compare.
    Integer(i64),
    /// True or false.
    Boolean(bool),
    /// A moment.
    Moment(Timestamp),
    /// Several values. An empty list counts as no value.
    List(Vec<Value>),
}

impl Attributes {
    /// No attributes at all.
    pub const NONE: Self = Self { entries: Vec::new() };

    /// With one more attribute, for example `Microsoft.Authorization/roleAssignments:PrincipalType`.
    pub fn with(mut self, source: Source, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.insert(source, name, value);
        self
    }

    /// Adds an attribute, or replaces it.
    pub fn insert(&mut self, source: Source, name: impl Into<String>, value: impl Into<Value>) {
        let (name, value) = (name.into(), value.into());
        match self.entries.iter_mut().find(|(from, known, _)| *from == source && same_name(known, &name)) {
            Some(entry) => entry.2 = value,
            None => self.entries.push((source, name, value)),
        }
    }

    /// The values of an attribute; `None` when there is none.
    pub(crate) fn find(&self, source: Source, name: &str) -> Option<&[Value]> {
        let (_, _, value) = self.entries.iter().find(|(from, known, _)| *from == source && same_name(known, name))?;
        match value {
            Value::List(values) if values.is_empty() => None,
            Value::List(values) => Some(values),
            value => Some(std::slice::from_ref(value)),
        }
    }
}

/// Attribute names ignore ASCII case, except those that end in a tag key marked as case-sensitive.
fn same_name(left: &str, right: &str) -> bool {
    if left.contains(CASE_SENSITIVE) { left == right } else { left.eq_ignore_ascii_case(right) }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Boolean(flag)
    }
}

impl From<Timestamp> for Value {
    fn from(moment: Timestamp) -> Self {
        Self::Moment(moment)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

const CASE_SENSITIVE: &str = "<$key_case_sensitive$>";
