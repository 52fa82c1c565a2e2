//! Truth and comparison. `if`, `and`, `or` and `coalesce` evaluate no more than they must.

use std::cmp::Ordering;

use super::{Arguments, Function, MANY, pure, special};
use crate::data::Data;
use crate::error::{Stop, Trouble};
use crate::evaluator::{Evaluator, Outcome};
use crate::expression::{Call, Term};

pub(super) const FUNCTIONS: &[Function] = &[
    special("and", 2, MANY, |evaluator, call| until(evaluator, call, false)),
    pure("bool", 1, 1, |args| match args.any(0) {
        value @ Data::Bool(_) => Ok(value.clone()),
        Data::Int(number) => Ok(Data::Bool(*number != 0)),
        Data::Text(text) if text.eq_ignore_ascii_case("true") || &**text == "1" => Ok(Data::Bool(true)),
        Data::Text(text) if text.eq_ignore_ascii_case("false") || &**text == "0" => Ok(Data::Bool(false)),
        Data::Text(_) => Err("argument 1 must be 'true' or 'false'.".into()),
        _ => Err(args.wrong(0, "a string or an integer")),
    }),
    special("coalesce", 1, MANY, coalesce),
    pure("equals", 2, 2, |args| {
        args.walk(0)?;
        Ok(Data::Bool(args.any(0).same(args.any(1))))
    }),
    pure("false", 0, 0, |_| Ok(Data::Bool(false))),
    pure("greater", 2, 2, |args| Ok(Data::Bool(compare(args)?.is_gt()))),
    pure("greaterOrEquals", 2, 2, |args| Ok(Data::Bool(compare(args)?.is_ge()))),
    special("if", 3, 3, choose),
    pure("less", 2, 2, |args| Ok(Data::Bool(compare(args)?.is_lt()))),
    pure("lessOrEquals", 2, 2, |args| Ok(Data::Bool(compare(args)?.is_le()))),
    pure("not", 1, 1, |args| Ok(Data::Bool(!args.boolean(0)?))),
    special("or", 2, MANY, |evaluator, call| until(evaluator, call, true)),
    pure("true", 0, 0, |_| Ok(Data::Bool(true))),
];

fn compare(args: &Arguments<'_>) -> Result<Ordering, Trouble> {
    #[expect(clippy::cast_precision_loss, reason = "mixed numbers compare as floating point")]
    match (args.any(0), args.any(1)) {
        (Data::Int(a), Data::Int(b)) => Ok(a.cmp(b)),
        (Data::Float(a), Data::Float(b)) => Ok(a.total_cmp(b)),
        (Data::Int(a), Data::Float(b)) => Ok((*a as f64).total_cmp(b)),
        (Data::Float(a), Data::Int(b)) => Ok(a.total_cmp(&(*b as f64))),
        (Data::Text(a), Data::Text(b)) => Ok(a.cmp(b)),
        _ => Err("it compares two integers or two strings.".into()),
    }
}

/// The untaken branch is never evaluated: it may refer to what does not exist.
fn choose(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    let [condition, then, otherwise] = call.arguments.as_slice() else {
        return Ok(Data::Null);
    };
    match evaluator.term(condition) {
        Ok(Data::Bool(true)) => evaluator.term(then),
        Ok(Data::Bool(false)) => evaluator.term(otherwise),
        Ok(other) => {
            Err(evaluator.blame(call, format!("the condition must be a boolean, but it is {}.", other.kind())))
        }
        Err(stop) => Err(possibly(evaluator, stop, &[then, otherwise])),
    }
}

/// `and` stops at the first false, `or` at the first true.
fn until(evaluator: &mut Evaluator<'_>, call: &Call, decided: bool) -> Outcome {
    for (position, argument) in call.arguments.iter().enumerate() {
        match evaluator.term(argument) {
            Ok(Data::Bool(value)) if value == decided => return Ok(Data::Bool(decided)),
            Ok(Data::Bool(_)) => {}
            Ok(other) => {
                let message = format!("argument {} must be a boolean, but it is {}.", position + 1, other.kind());
                return Err(evaluator.blame(call, message));
            }
            Err(stop) => return Err(rest_possibly(evaluator, stop, call, position)),
        }
    }
    Ok(Data::Bool(!decided))
}

fn coalesce(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    for (position, argument) in call.arguments.iter().enumerate() {
        match evaluator.term(argument) {
            Ok(Data::Null) => {}
            Ok(value) => return Ok(value),
            Err(stop) => return Err(rest_possibly(evaluator, stop, call, position)),
        }
    }
    Ok(Data::Null)
}

fn rest_possibly(evaluator: &mut Evaluator<'_>, stop: Stop, call: &Call, position: usize) -> Stop {
    let rest: Vec<&Term> = call.arguments.iter().skip(position + 1).collect();
    possibly(evaluator, stop, &rest)
}

/// When it is not known yet which way to go, all ways are looked at for what they might need.
fn possibly(evaluator: &mut Evaluator<'_>, stop: Stop, terms: &[&Term]) -> Stop {
    let Stop::Missing(mut needs) = stop else {
        return stop;
    };
    for term in terms {
        if let Err(Stop::Missing(other)) = evaluator.term(term) {
            needs.absorb_possible(other.certain);
            needs.absorb_possible(other.possible);
        }
    }
    Stop::Missing(needs)
}
