//! Objects.

use std::sync::Arc;

use super::{Arguments, Function, MANY, pure};
use crate::data::{Data, Fields, Object};
use crate::error::Trouble;

pub(super) const FUNCTIONS: &[Function] = &[
    pure("createObject", 0, MANY, create_object),
    pure("items", 1, 1, items),
    pure("null", 0, 0, |_| Ok(Data::Null)),
    pure("objectKeys", 1, 1, |args| {
        Ok(Data::array(args.object(0)?.entries.iter().map(|(name, _)| Data::Text(name.clone())).collect()))
    }),
    pure("shallowMerge", 1, 1, shallow_merge),
    pure("tryGet", 2, MANY, try_get),
];

fn create_object(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    if args.all().len() % 2 == 1 {
        return Err("it takes names and values in pairs, so an even number of arguments.".into());
    }
    let mut fields = Fields::default();
    for position in (0..args.all().len()).step_by(2) {
        fields.put(Arc::from(args.text(position)?), args.any(position + 1).clone());
    }
    Ok(fields.finish())
}

/// `[{key, value}, ...]` in the order of the keys, case aside.
fn items(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    let object = args.object(0)?;
    args.budget.bytes(object.entries.len() as u64 * 250)?;
    let mut entries: Vec<(String, &(Arc<str>, Data))> =
        object.entries.iter().map(|entry| (entry.0.to_lowercase(), entry)).collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    let items = entries
        .into_iter()
        .map(|(_, (name, value))| Data::record([("key", Data::Text(name.clone())), ("value", value.clone())]));
    Ok(Data::array(items.collect()))
}

fn shallow_merge(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    let mut fields = Fields::default();
    for item in args.array(0)? {
        let object = item.as_object().ok_or_else(|| args.wrong(0, "an array of objects"))?;
        args.budget.steps(object.entries.len() as u64 / 4 + 1)?;
        args.budget.bytes(object.entries.len() as u64 * 100)?;
        for (name, value) in &object.entries {
            fields.put(name.clone(), value.clone());
        }
    }
    Ok(fields.finish())
}

/// Null as soon as a step leads nowhere. Bicep writes `a.?b.c` so, where `c` may be absent as well as `b`.
fn try_get(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    let mut value = args.any(0);
    for position in 1..args.all().len() {
        if !matches!(args.any(position), Data::Text(_) | Data::Int(_)) {
            return Err(args.wrong(position, "a string or an integer"));
        }
        match step(value, args.any(position)) {
            Some(found) => value = found,
            None => return Ok(Data::Null),
        }
    }
    Ok(value.clone())
}

fn step<'a>(value: &'a Data, step: &Data) -> Option<&'a Data> {
    match (value, step) {
        (Data::Object(object), Data::Text(name)) => object.find(name),
        (Data::Array(array), Data::Int(index)) => usize::try_from(*index).ok().and_then(|index| array.items.get(index)),
        _ => None,
    }
}

/// Merges objects at every depth; anything else is replaced.
pub(super) fn merge_deep(first: &Data, second: &Data) -> Data {
    let (Data::Object(a), Data::Object(b)) = (first, second) else {
        return second.clone();
    };
    let mut fields = Fields::default();
    for (name, value) in &a.entries {
        fields.put(name.clone(), value.clone());
    }
    for (name, value) in &b.entries {
        let merged = fields.value(name).map_or_else(|| value.clone(), |old| merge_deep(old, value));
        fields.put(name.clone(), merged);
    }
    fields.finish()
}

/// The members both objects have with equal values; objects in objects likewise.
pub(super) fn intersect_objects(first: &Data, second: &Object) -> Data {
    let mut fields = Fields::default();
    for (name, value) in first.as_object().map_or(&[][..], |object| &object.entries) {
        match (value, second.find(name)) {
            (Data::Object(_), Some(Data::Object(other))) => fields.put(name.clone(), intersect_objects(value, other)),
            (value, Some(other)) if value.same(other) => fields.put(name.clone(), value.clone()),
            _ => {}
        }
    }
    fields.finish()
}
