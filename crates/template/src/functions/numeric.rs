//! Integers, and what turns other values into them.

use super::{Arguments, Function, MANY, pure, special};
use crate::data::Data;
use crate::error::{Needs, Trouble};
use crate::evaluator::{Evaluator, Outcome};
use crate::expression::Call;

pub(super) const FUNCTIONS: &[Function] = &[
    pure("add", 2, 2, |args| arithmetic(args, i64::checked_add)),
    special("copyIndex", 0, 2, copy_index),
    pure("div", 2, 2, |args| divided(args, i64::checked_div)),
    pure("float", 1, 1, |args| match args.any(0) {
        number @ Data::Float(_) => Ok(number.clone()),
        #[expect(clippy::cast_precision_loss, reason = "that is what the function is for")]
        Data::Int(number) => Ok(Data::Float(*number as f64)),
        Data::Text(text) => match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Data::Float(number)),
            _ => Err("argument 1 is not a number.".into()),
        },
        _ => Err(args.wrong(0, "a string or a number")),
    }),
    pure("int", 1, 1, |args| match args.any(0) {
        number @ Data::Int(_) => Ok(number.clone()),
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
        Data::Float(number) if number.abs() < 9e18 => Ok(Data::Int(number.round_ties_even() as i64)),
        Data::Text(text) => match text.trim().parse() {
            Ok(number) => Ok(Data::Int(number)),
            Err(_) => Err("argument 1 is not the text of an integer.".into()),
        },
        _ => Err(args.wrong(0, "a string or an integer")),
    }),
    pure("max", 1, MANY, |args| extreme(args, i64::max)),
    pure("min", 1, MANY, |args| extreme(args, i64::min)),
    pure("mod", 2, 2, |args| divided(args, i64::checked_rem)),
    pure("mul", 2, 2, |args| arithmetic(args, i64::checked_mul)),
    pure("sub", 2, 2, |args| arithmetic(args, i64::checked_sub)),
];

fn arithmetic(args: &Arguments<'_>, operation: fn(i64, i64) -> Option<i64>) -> Result<Data, Trouble> {
    let result = operation(args.int(0)?, args.int(1)?);
    result.map(Data::Int).ok_or_else(|| "the result does not fit into 64 bits.".into())
}

fn divided(args: &Arguments<'_>, operation: fn(i64, i64) -> Option<i64>) -> Result<Data, Trouble> {
    if args.int(1)? == 0 {
        return Err("argument 2 must not be zero.".into());
    }
    arithmetic(args, operation)
}

fn extreme(args: &Arguments<'_>, choose: fn(i64, i64) -> i64) -> Result<Data, Trouble> {
    let values = match args.all() {
        [Data::Array(array)] => array.items.as_slice(),
        values => values,
    };
    let numbers: Option<Vec<i64>> =
        values.iter().map(|value| if let Data::Int(number) = value { Some(*number) } else { None }).collect();
    match numbers.and_then(|numbers| numbers.into_iter().reduce(choose)) {
        Some(number) => Ok(Data::Int(number)),
        None => Err("it takes integers, or one array of at least one integer.".into()),
    }
}

/// `copyIndex()`, `copyIndex(offset)`, `copyIndex(name)`, `copyIndex(name, offset)`.
fn copy_index(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    let values = evaluator.arguments(&call.arguments)?;
    let (name, offset) = match values.as_slice() {
        [] => (None, 0),
        [Data::Int(offset)] => (None, *offset),
        [Data::Text(name)] => (Some(name), 0),
        [Data::Text(name), Data::Int(offset)] => (Some(name), *offset),
        _ => return Err(evaluator.blame(call, "it takes the name of a loop, an offset, or both in this order.")),
    };
    let found = match name {
        Some(name) => evaluator.loops.iter().rev().find(|turn| turn.name.eq_ignore_ascii_case(name)),
        None => evaluator.loops.iter().rev().find(|turn| turn.nameless).or(evaluator.loops.last()),
    };
    match (found, name) {
        (Some(turn), _) => match i64::from(turn.index).checked_add(offset) {
            Some(index) => Ok(Data::Int(index)),
            None => Err(evaluator.blame(call, "the result does not fit into 64 bits.")),
        },
        (None, Some(name)) => Err(evaluator.blame(call, format!("there is no loop '{name}' around this expression."))),
        (None, None) if evaluator.locals.iter().any(|local| local.value.is_none()) => Err(Needs::unknown()),
        (None, None) => Err(evaluator.blame(call, "there is no loop around this expression.")),
    }
}
