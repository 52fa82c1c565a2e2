//! Arrays, and what arrays share with strings and objects.

use std::collections::HashSet;

use super::object::{intersect_objects, merge_deep};
use super::{Arguments, Function, MANY, pure};
use crate::data::Data;
use crate::error::Trouble;

pub(super) const FUNCTIONS: &[Function] = &[
    pure("array", 1, 1, |args| match args.any(0) {
        array @ Data::Array(_) => Ok(array.clone()),
        other => Ok(Data::array(vec![other.clone()])),
    }),
    pure("contains", 2, 2, contains),
    pure("createArray", 0, MANY, |args| Ok(Data::array(args.all().to_vec()))),
    pure("empty", 1, 1, |args| match args.any(0) {
        Data::Null => Ok(Data::Bool(true)),
        Data::Text(text) => Ok(Data::Bool(text.is_empty())),
        Data::Array(array) => Ok(Data::Bool(array.items.is_empty())),
        Data::Object(object) => Ok(Data::Bool(object.entries.is_empty())),
        _ => Err(args.wrong(0, "a string, an array, an object or null")),
    }),
    pure("first", 1, 1, |args| match args.any(0) {
        Data::Text(text) => Ok(Data::text(text.chars().next().map(String::from).unwrap_or_default())),
        Data::Array(array) => Ok(array.items.first().cloned().unwrap_or(Data::Null)),
        _ => Err(args.wrong(0, "a string or an array")),
    }),
    pure("flatten", 1, 1, flatten),
    pure("indexFromEnd", 2, 2, |args| {
        from_end(args)?.ok_or_else(|| "the index is out of bounds; counting from the end starts at 1.".into())
    }),
    pure("indexOf", 2, 2, |args| index_of(args, false)),
    pure("intersection", 2, MANY, intersection),
    pure("last", 1, 1, |args| match args.any(0) {
        Data::Text(text) => Ok(Data::text(text.chars().next_back().map(String::from).unwrap_or_default())),
        Data::Array(array) => Ok(array.items.last().cloned().unwrap_or(Data::Null)),
        _ => Err(args.wrong(0, "a string or an array")),
    }),
    pure("lastIndexOf", 2, 2, |args| index_of(args, true)),
    pure("length", 1, 1, |args| match args.any(0) {
        Data::Text(text) => Ok(count(text.chars().count())),
        Data::Array(array) => Ok(count(array.items.len())),
        Data::Object(object) => Ok(count(object.entries.len())),
        _ => Err(args.wrong(0, "a string, an array or an object")),
    }),
    pure("range", 2, 2, range),
    pure("skip", 2, 2, |args| slice(args, |count, length| (count.min(length), length))),
    pure("take", 2, 2, |args| slice(args, |count, length| (0, count.min(length)))),
    pure("tryIndexFromEnd", 2, 2, |args| match args.any(0) {
        Data::Null => Ok(Data::Null),
        _ => Ok(from_end(args)?.unwrap_or(Data::Null)),
    }),
    pure("union", 2, MANY, union),
];

fn count(count: usize) -> Data {
    Data::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn contains(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    let found = match args.any(0) {
        Data::Text(text) => text.contains(&args.scalar(1)?),
        Data::Object(object) => object.find(&args.scalar(1)?).is_some(),
        Data::Array(array) => {
            args.walk(0)?;
            array.items.iter().any(|item| item.same(args.any(1)))
        }
        _ => return Err(args.wrong(0, "a string, an array or an object")),
    };
    Ok(Data::Bool(found))
}

fn flatten(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    let mut items = Vec::new();
    for item in args.array(0)? {
        let inner = item.as_array().ok_or_else(|| args.wrong(0, "an array of arrays"))?;
        args.budget.bytes(inner.len() as u64 * 24)?;
        items.extend_from_slice(inner);
    }
    Ok(Data::array(items))
}

fn from_end(args: &Arguments<'_>) -> Result<Option<Data>, Trouble> {
    let (items, back) = (args.array(0)?, args.int(1)?);
    let position = usize::try_from(back).ok().filter(|back| *back > 0).and_then(|back| items.len().checked_sub(back));
    Ok(position.and_then(|position| items.get(position)).cloned())
}

/// Ignores case in strings, as documented; items of arrays are compared as `equals` does.
fn index_of(args: &mut Arguments<'_>, last: bool) -> Result<Data, Trouble> {
    let position = match args.any(0) {
        Data::Text(text) => {
            let (text, wanted) = (text.to_lowercase(), args.text(1)?.to_lowercase());
            let found = if last { text.rfind(&wanted) } else { text.find(&wanted) };
            found.map(|at| text.get(..at).unwrap_or_default().chars().count())
        }
        Data::Array(array) => {
            args.walk(0)?;
            let same = |item: &Data| item.same(args.any(1));
            if last { array.items.iter().rposition(same) } else { array.items.iter().position(same) }
        }
        _ => return Err(args.wrong(0, "a string or an array")),
    };
    Ok(position.map_or(Data::Int(-1), count))
}

fn range(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    let (start, length) = (args.int(0)?, args.int(1)?);
    if !(0..=MOST_IN_RANGE).contains(&length) {
        return Err(format!("argument 2 must be between 0 and {MOST_IN_RANGE}.").into());
    }
    let Some(end) = start.checked_add(length) else {
        return Err("the range goes beyond 64 bits.".into());
    };
    args.budget.steps(length.unsigned_abs() / 8)?;
    Ok(Data::array((start..end).map(Data::Int).collect()))
}

/// The part of a string or an array that the bounds choose; a negative count is none.
fn slice(args: &mut Arguments<'_>, bounds: fn(usize, usize) -> (usize, usize)) -> Result<Data, Trouble> {
    let wanted = usize::try_from(args.int(1)?.max(0)).unwrap_or(usize::MAX);
    match args.any(0) {
        Data::Text(text) => {
            let (start, end) = bounds(wanted, text.chars().count());
            Ok(Data::text(text.chars().skip(start).take(end - start).collect::<String>()))
        }
        Data::Array(array) => {
            let (start, end) = bounds(wanted, array.items.len());
            Ok(Data::array(array.items.get(start..end).unwrap_or_default().to_vec()))
        }
        _ => Err(args.wrong(0, "a string or an array")),
    }
}

/// Arrays: every item once, in the order met. Objects: merged, later ones win, objects in objects merged likewise.
fn union(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    for position in 0..args.all().len() {
        args.walk(position)?;
    }
    match args.any(0) {
        Data::Array(_) => {
            let mut seen = HashSet::new();
            let mut items = Vec::new();
            for position in 0..args.all().len() {
                items.extend(args.array(position)?.iter().filter(|item| seen.insert(item.json())).cloned());
            }
            Ok(Data::array(items))
        }
        Data::Object(_) => {
            let mut merged = args.any(0).clone();
            for position in 1..args.all().len() {
                args.object(position)?;
                merged = merge_deep(&merged, args.any(position));
            }
            Ok(merged)
        }
        _ => Err(args.wrong(0, "an array or an object")),
    }
}

fn intersection(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    for position in 0..args.all().len() {
        args.walk(position)?;
    }
    match args.any(0) {
        Data::Array(array) => {
            let mut kept = array.items.clone();
            for position in 1..args.all().len() {
                let other: HashSet<String> = args.array(position)?.iter().map(Data::json).collect();
                kept.retain(|item| other.contains(&item.json()));
            }
            let mut seen = HashSet::new();
            kept.retain(|item| seen.insert(item.json()));
            Ok(Data::array(kept))
        }
        Data::Object(_) => {
            let mut common = args.any(0).clone();
            for position in 1..args.all().len() {
                common = intersect_objects(&common, args.object(position)?);
            }
            Ok(common)
        }
        _ => Err(args.wrong(0, "an array or an object")),
    }
}

/// Azure's bound.
const MOST_IN_RANGE: i64 = 10_000;
