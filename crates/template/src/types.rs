//! Types of parameters and outputs: the simple ones, and those a template defines for itself.
//!
//! A type is a declaration as it stands in the template: `type` or `$ref`, with `allowedValues`, bounds, `nullable`,
//! `items`, `prefixItems`, `properties`, `additionalProperties`, `discriminator`.

use std::collections::HashSet;
use std::fmt::Write;

use crate::data::Data;
use crate::error::Trouble;
use crate::limits::Budget;
use crate::tree::push_member;

/// The definitions that `$ref` points into.
#[derive(Clone, Copy)]
pub(crate) struct Types<'a> {
    definitions: &'a Data,
}

impl<'a> Types<'a> {
    pub(crate) fn new(definitions: &'a Data) -> Self {
        Self { definitions }
    }

    /// Whether the type says that its values, or something in them, must never be shown.
    pub(crate) fn is_secure(self, schema: &'a Data, budget: &mut Budget) -> Result<bool, Trouble> {
        self.is_secure_beyond(schema, &mut HashSet::new(), budget)
    }

    /// As [`Self::is_secure`], each type once: a type may contain itself.
    fn is_secure_beyond(
        self,
        schema: &'a Data,
        seen: &mut HashSet<*const Data>,
        budget: &mut Budget,
    ) -> Result<bool, Trouble> {
        budget.steps(1)?;
        let schema = self.resolve(schema)?;
        let named = |name: &str| name.eq_ignore_ascii_case("secureString") || name.eq_ignore_ascii_case("secureObject");
        if type_of(schema).is_some_and(named) {
            return Ok(true);
        }
        if !seen.insert(std::ptr::from_ref(schema)) {
            return Ok(false);
        }
        let mapping = schema.member("discriminator").and_then(|found| found.member("mapping"));
        let members = [schema.member("properties"), mapping].into_iter().flatten().filter_map(Data::as_object);
        let members = members.flat_map(|object| object.entries.iter().map(|(_, schema)| schema));
        let items = schema.member("prefixItems").and_then(Data::as_array).unwrap_or_default();
        let rest = ["items", "additionalProperties"].into_iter().filter_map(|name| schema.member(name));
        for inside in members.chain(items).chain(rest).filter(|inside| inside.as_object().is_some()) {
            if self.is_secure_beyond(inside, seen, budget)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether null is a value of the type.
    pub(crate) fn is_nullable(self, schema: &'a Data) -> Result<bool, Trouble> {
        Ok(flag(schema, "nullable") || flag(self.resolve(schema)?, "nullable"))
    }

    /// The name of the type as a deployment shows it: `String`, `SecureObject`, ...
    pub(crate) fn shown(self, schema: &'a Data) -> &'static str {
        match self.resolve(schema).ok().and_then(type_of).map(str::to_ascii_lowercase).as_deref() {
            Some("string") => "String",
            Some("securestring") => "SecureString",
            Some("int") => "Int",
            Some("bool") => "Bool",
            Some("array") => "Array",
            Some("secureobject") => "SecureObject",
            _ => "Object",
        }
    }

    /// Checks a value against its type; answers the value in the declared spelling of an allowed value.
    pub(crate) fn check(self, value: &Data, schema: &'a Data, budget: &mut Budget) -> Result<Data, Trouble> {
        let mut path = String::new();
        self.check_at(value, schema, &mut path, budget)
    }

    fn check_at(self, value: &Data, schema: &'a Data, path: &mut String, budget: &mut Budget) -> Result<Data, Trouble> {
        budget.steps(1)?;
        if value.is_null() && flag(schema, "nullable") {
            return Ok(Data::Null);
        }
        let resolved = self.resolve(schema)?;
        if value.is_null() && flag(resolved, "nullable") {
            return Ok(Data::Null);
        }
        let Some(name) = type_of(resolved) else {
            return Err("The declaration has no 'type'.".into());
        };
        let fits = match name.to_ascii_lowercase().as_str() {
            "string" | "securestring" => matches!(value, Data::Text(_)),
            "int" => matches!(value, Data::Int(_)),
            "bool" => matches!(value, Data::Bool(_)),
            "array" => matches!(value, Data::Array(_)),
            "object" | "secureobject" => matches!(value, Data::Object(_)),
            _ => return Err(format!("'{name}' is not a type.").into()),
        };
        if !fits {
            return Err(format!("Expected a value of type '{name}'{}, but it is {}.", shown(path), value.kind()).into());
        }
        // Constraints may stand beside a `$ref` as well as at its end.
        let mut value = value.clone();
        for declared in [Some(schema), (!std::ptr::eq(schema, resolved)).then_some(resolved)].into_iter().flatten() {
            value = allowed(value, declared, path)?;
            bounds(&value, declared, path)?;
        }
        match &value {
            Data::Array(array) => self.items(&array.items, resolved, path, budget)?,
            Data::Object(_) => self.members(&value, resolved, path, budget)?,
            _ => {}
        }
        Ok(value)
    }

    fn items(self, items: &[Data], schema: &'a Data, path: &mut String, budget: &mut Budget) -> Result<(), Trouble> {
        let first = schema.member("prefixItems").and_then(Data::as_array).unwrap_or_default();
        let rest = schema.member("items");
        for (index, item) in items.iter().enumerate() {
            let expected = match first.get(index).or(rest) {
                Some(Data::Bool(false)) => {
                    return Err(format!("There are more than {} items{}.", first.len(), shown(path)).into());
                }
                Some(expected @ Data::Object(_)) => expected,
                _ => continue,
            };
            let length = path.len();
            let _ = write!(path, "[{index}]");
            self.check_at(item, expected, path, budget)?;
            path.truncate(length);
        }
        Ok(())
    }

    fn members(self, value: &Data, schema: &'a Data, path: &mut String, budget: &mut Budget) -> Result<(), Trouble> {
        let chosen = match schema.member("discriminator") {
            Some(discriminator) => self.chosen(value, discriminator, path)?,
            None => schema,
        };
        let properties = chosen.member("properties").and_then(Data::as_object);
        for (name, expected) in properties.map_or(&[][..], |object| &object.entries) {
            let length = path.len();
            push_member(path, name);
            match value.member(name) {
                Some(given) => {
                    self.check_at(given, expected, path, budget)?;
                }
                None if self.is_nullable(expected)? => {}
                None => return Err(format!("The property '{}' is required.", path.trim_start_matches('.')).into()),
            }
            path.truncate(length);
        }
        let additional = chosen.member("additionalProperties");
        let tag = schema.member("discriminator").and_then(|found| found.member("propertyName")).and_then(Data::as_text);
        for (name, given) in value.as_object().map_or(&[][..], |object| &object.entries) {
            let known = properties.is_some_and(|properties| properties.find(name).is_some())
                || tag.is_some_and(|tag| tag.eq_ignore_ascii_case(name));
            match additional {
                Some(Data::Bool(false)) if !known => {
                    return Err(format!("The property '{name}' is not part of the type{}.", shown(path)).into());
                }
                Some(expected @ Data::Object(_)) if !known => {
                    let length = path.len();
                    push_member(path, name);
                    self.check_at(given, expected, path, budget)?;
                    path.truncate(length);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The member of a tagged union that the value's tag names.
    fn chosen(self, value: &Data, discriminator: &'a Data, path: &str) -> Result<&'a Data, Trouble> {
        let (Some(tag), Some(mapping)) = (
            discriminator.member("propertyName").and_then(Data::as_text),
            discriminator.member("mapping").and_then(Data::as_object),
        ) else {
            return Err("A discriminator needs 'propertyName' and 'mapping'.".into());
        };
        let chosen = value.member(tag).and_then(Data::as_text).and_then(|name| mapping.find(name));
        match chosen {
            Some(schema) => self.resolve(schema),
            None => Err(format!("The property '{tag}'{} must be one of {}.", shown(path), mapping.names()).into()),
        }
    }

    /// Follows `$ref` to the declaration that has a type.
    fn resolve(self, schema: &'a Data) -> Result<&'a Data, Trouble> {
        let mut schema = schema;
        for _ in 0..=MOST_HOPS {
            let Some(reference) = schema.member("$ref").and_then(Data::as_text) else {
                return Ok(schema);
            };
            let mut target = reference.strip_prefix("#/definitions/").map(|_| self.definitions);
            for segment in reference.split('/').skip(2) {
                let segment = segment.replace("~1", "/").replace("~0", "~");
                target = target.and_then(|target| match target {
                    Data::Array(array) => segment.parse::<usize>().ok().and_then(|index| array.items.get(index)),
                    other => other.member(&segment),
                });
            }
            schema =
                target.ok_or_else(|| format!("'{reference}' is not defined; types stand under '#/definitions/'."))?;
        }
        Err("The definitions refer to each other in a circle.".into())
    }
}

/// Applies `allowedValues`.
///
/// A spelling that differs only in case stands for the allowed value, and so does `<EnumName>.<MEMBER>`: the Python
/// SDK sends the name of its enum's member instead of the value, `PublicNetworkAccessType.ENABLED` for `Enabled`.
fn allowed(value: Data, schema: &Data, path: &str) -> Result<Data, Trouble> {
    let Some(values) = schema.member("allowedValues").and_then(Data::as_array) else {
        return Ok(value);
    };
    if let Some(found) = one_of(&value, values) {
        return Ok(found);
    }
    // A list may also hold any selection of the allowed values.
    if let Some(items) = value.as_array() {
        let chosen: Option<Vec<Data>> = items.iter().map(|item| one_of(item, values)).collect();
        if let Some(chosen) = chosen {
            return Ok(Data::array(chosen));
        }
    }
    let names: Vec<String> = values.iter().take(20).map(Data::display).collect();
    Err(format!("The value{} is not part of the allowed value(s): '{}'.", shown(path), names.join(",")).into())
}

fn one_of(value: &Data, values: &[Data]) -> Option<Data> {
    if values.iter().any(|other| other.same(value)) {
        return Some(value.clone());
    }
    let text = value.as_text()?;
    let same = |other: &&Data| other.as_text().is_some_and(|other| other.eq_ignore_ascii_case(text));
    if let Some(found) = values.iter().find(same) {
        return Some(found.clone());
    }
    let (name, member) = text.split_once('.')?;
    let identifier =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !identifier(name) || !identifier(member) {
        return None;
    }
    let plain = |text: &str| text.replace('_', "").to_ascii_lowercase();
    let same = |other: &&Data| other.as_text().is_some_and(|other| plain(other) == plain(member));
    values.iter().find(same).cloned()
}

fn bounds(value: &Data, schema: &Data, path: &str) -> Result<(), Trouble> {
    let bound = |name: &str| match schema.member(name) {
        Some(Data::Int(bound)) => Some(*bound),
        _ => None,
    };
    let (size, least, most, what) = match value {
        Data::Int(number) => (*number, bound("minValue"), bound("maxValue"), "The value"),
        Data::Text(text) => {
            (length(text.chars().count()), bound("minLength"), bound("maxLength"), "The length of the value")
        }
        Data::Array(array) => {
            (length(array.items.len()), bound("minLength"), bound("maxLength"), "The number of items")
        }
        _ => return Ok(()),
    };
    if least.is_some_and(|least| size < least) {
        return Err(format!("{what}{} must be at least {}.", shown(path), least.unwrap_or_default()).into());
    }
    if most.is_some_and(|most| size > most) {
        return Err(format!("{what}{} must be at most {}.", shown(path), most.unwrap_or_default()).into());
    }
    Ok(())
}

fn length(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

fn flag(schema: &Data, name: &str) -> bool {
    matches!(schema.member(name), Some(Data::Bool(true)))
}

fn type_of(schema: &Data) -> Option<&str> {
    schema.member("type").and_then(Data::as_text)
}

fn shown(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!(" of '{}'", path.trim_start_matches('.')) }
}

/// How many definitions in a row may be nothing but a `$ref` to the next.
const MOST_HOPS: u32 = 64;
