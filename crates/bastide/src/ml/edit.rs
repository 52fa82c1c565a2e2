//! Changes of a document by `--set`, `--add` and `--remove`, as az's generic updates have them.

use serde_json::{Map, Value};

/// A change that cannot be made.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EditError {
    #[error("'{0}' is no change: write a path and a value, such as tags.team=blue")]
    NoValue(String),
    #[error("'{0}' leads through something that has no fields")]
    NotThere(String),
    #[error("'{0}' is no list")]
    NotAList(String),
}

/// What the values of changes are taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// JSON where they are some, else text.
    Json,
    /// Text always.
    Text,
}

impl Reading {
    fn read(self, text: &str) -> Value {
        let value = match (self, text) {
            (Self::Text, _) => None,
            (Self::Json, "True") => Some(Value::Bool(true)),
            (Self::Json, "False") => Some(Value::Bool(false)),
            (Self::Json, _) => serde_json::from_str(text).ok(),
        };
        value.unwrap_or_else(|| Value::String(text.to_owned()))
    }
}

/// `path.to.field=value`, as often as given. What is on the way and missing is made.
pub(crate) fn set(document: &mut Value, changes: &[String], reading: Reading) -> Result<(), EditError> {
    for change in changes {
        let (path, value) = change.split_once('=').ok_or_else(|| EditError::NoValue(change.clone()))?;
        *place(document, path)? = reading.read(value);
    }
    Ok(())
}

/// `path.to.list value`: the values go to its end. Of a field that is no list the last word is one field of it,
/// `path key=value`.
pub(crate) fn add(document: &mut Value, words: &[String], reading: Reading) -> Result<(), EditError> {
    let Some((path, values)) = words.split_first() else { return Ok(()) };
    let target = place(document, path)?;
    for value in values {
        match (&mut *target, value.split_once('=')) {
            (Value::Object(fields), Some((name, value))) => drop(fields.insert(name.to_owned(), reading.read(value))),
            (Value::Array(items), _) => items.push(reading.read(value)),
            (Value::Null, _) => *target = Value::Array(vec![reading.read(value)]),
            _ => return Err(EditError::NotAList(path.clone())),
        }
    }
    Ok(())
}

/// `path.to.field`, or `path.to.list index`.
pub(crate) fn remove(document: &mut Value, words: &[String]) -> Result<(), EditError> {
    let Some((path, indices)) = words.split_first() else { return Ok(()) };
    let not_there = || EditError::NotThere(path.clone());
    if let Some(index) = indices.first() {
        let Value::Array(items) = place(document, path)? else { return Err(EditError::NotAList(path.clone())) };
        let index: usize = index.parse().map_err(|_| not_there())?;
        if index >= items.len() {
            return Err(not_there());
        }
        items.remove(index);
        return Ok(());
    }
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let parent = if parent.is_empty() { document } else { place(document, parent)? };
    parent.as_object_mut().and_then(|fields| fields.shift_remove(name)).map(drop).ok_or_else(not_there)
}

fn place<'a>(document: &'a mut Value, path: &str) -> Result<&'a mut Value, EditError> {
    let mut place = document;
    for name in path.split('.') {
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        place = match (place, name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name)) {
            (Value::Object(fields), name) => fields.entry(name.to_owned()).or_insert(Value::Null),
            (Value::Array(items), index) => {
                let item = index.parse::<usize>().ok().and_then(|index| items.get_mut(index));
                item.ok_or_else(|| EditError::NotThere(path.to_owned()))?
            }
            _ => return Err(EditError::NotThere(path.to_owned())),
        };
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn fields_are_set_added_and_removed() {
        let mut document = json!({"name": "ci", "tags": {"a": "b"}, "list": [1]});
        set(
            &mut document,
            &words("size=Standard_DS3_v2 ssh_settings.ssh_key_value=x=y tags.n=3 enable_sso=false"),
            Reading::Json,
        )
        .unwrap();
        add(&mut document, &words("list 2"), Reading::Json).unwrap();
        add(&mut document, &words("tags c=d"), Reading::Text).unwrap();
        remove(&mut document, &words("tags.a")).unwrap();
        remove(&mut document, &words("list 0")).unwrap();
        let expected = json!({
            "name": "ci", "tags": {"n": 3, "c": "d"}, "list": [2], "size": "Standard_DS3_v2",
            "ssh_settings": {"ssh_key_value": "x=y"}, "enable_sso": false,
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn what_leads_nowhere_is_refused() {
        let mut document = json!({"name": "ci", "list": [1]});
        assert_eq!(set(&mut document, &words("name"), Reading::Json), Err(EditError::NoValue("name".to_owned())));
        assert!(set(&mut document, &words("name.first=x"), Reading::Json).is_err());
        assert!(add(&mut document, &words("name x"), Reading::Json).is_err());
        assert!(remove(&mut document, &words("nothing")).is_err());
        assert!(remove(&mut document, &words("list 7")).is_err());
    }
}
