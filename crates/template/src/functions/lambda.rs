//! Functions that take a function: `map(list, lambda('x', ...))` and their kin.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Function, MANY, special};
use crate::data::{Data, Fields};
use crate::error::{Needs, Stop};
use crate::evaluator::{Evaluator, Local, Outcome};
use crate::expression::{Call, Kind, Term};
use crate::gather::Gather;

pub(super) const FUNCTIONS: &[Function] = &[
    special("filter", 2, 2, filter),
    special("groupBy", 2, 2, group_by),
    special("lambda", 1, MANY, |evaluator, call| {
        Err(evaluator.blame(call, "a lambda can only be an argument of map, filter, reduce and their kin."))
    }),
    special("lambdaVariables", 1, 1, lambda_variables),
    special("map", 2, 2, map),
    special("mapValues", 2, 2, map_values),
    special("reduce", 3, 3, reduce),
    special("sort", 2, 2, sort),
    special("toObject", 2, 3, to_object),
];

/// The names and the body of a lambda.
struct Lambda<'a> {
    names: Vec<Arc<str>>,
    body: &'a Term,
}

impl<'a> Lambda<'a> {
    fn read(
        evaluator: &Evaluator<'_>,
        call: &'a Call,
        position: usize,
        least: usize,
        most: usize,
    ) -> Result<Self, Stop> {
        let wrong = |message: String| evaluator.blame(call, message);
        let Some(Kind::Call(lambda)) = call.arguments.get(position).map(|term| &term.kind) else {
            return Err(wrong(format!("argument {} must be a lambda.", position + 1)));
        };
        if !lambda.function.name.eq_ignore_ascii_case("lambda") {
            return Err(wrong(format!("argument {} must be a lambda.", position + 1)));
        }
        let Some((body, parameters)) = lambda.arguments.split_last() else {
            return Err(wrong("the lambda is empty.".to_owned()));
        };
        let names: Option<Vec<Arc<str>>> = parameters
            .iter()
            .map(|term| if let Kind::Text(name) = &term.kind { Some(name.clone()) } else { None })
            .collect();
        let Some(names) = names else {
            return Err(wrong("the variables of a lambda are plain strings.".to_owned()));
        };
        if !(least..=most).contains(&names.len()) {
            return Err(wrong(format!("its lambda takes {least} to {most} variables; {} are named.", names.len())));
        }
        Ok(Self { names, body })
    }

    fn run(&self, evaluator: &mut Evaluator<'_>, values: &[Option<Data>]) -> Outcome {
        let (before, secret) = (evaluator.locals.len(), evaluator.secret);
        for (name, value) in self.names.iter().zip(values) {
            evaluator.locals.push(Local { name: name.clone(), value: value.clone(), secret });
        }
        let outcome = evaluator.term(self.body);
        evaluator.locals.truncate(before);
        outcome
    }

    /// What the body might need, when the list it would run over is missing.
    fn possibly(&self, evaluator: &mut Evaluator<'_>, stop: Stop) -> Stop {
        let Stop::Missing(mut needs) = stop else {
            return stop;
        };
        let unknown = vec![None; self.names.len()];
        if let Err(Stop::Missing(other)) = self.run(evaluator, &unknown) {
            needs.absorb_possible(other.certain);
            needs.absorb_possible(other.possible);
        }
        Stop::Missing(needs)
    }
}

fn lambda_variables(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    let values = evaluator.arguments(&call.arguments)?;
    let Some(name) = values.first().and_then(Data::as_text) else {
        return Err(evaluator.blame(call, "argument 1 must be a string."));
    };
    match evaluator.locals.iter().rev().find(|local| local.name.eq_ignore_ascii_case(name)) {
        Some(Local { value: Some(value), secret, .. }) => {
            evaluator.secret |= secret;
            Ok(value.clone())
        }
        Some(Local { value: None, .. }) => Err(Needs::unknown()),
        None => Err(evaluator.blame(call, format!("there is no lambda variable '{name}' here."))),
    }
}

fn items(evaluator: &mut Evaluator<'_>, call: &Call, lambda: &Lambda<'_>) -> Result<Vec<Data>, Stop> {
    let Some(list) = call.arguments.first() else {
        return Ok(Vec::new());
    };
    match evaluator.term(list) {
        Ok(Data::Array(array)) => Ok(array.items.clone()),
        Ok(other) => Err(evaluator.blame(call, format!("argument 1 must be an array, but it is {}.", other.kind()))),
        Err(stop) => Err(lambda.possibly(evaluator, stop)),
    }
}

/// Runs the lambda over every item, with its index where the lambda wants one.
fn over(evaluator: &mut Evaluator<'_>, lambda: &Lambda<'_>, items: &[Data]) -> Result<Vec<Data>, Stop> {
    let mut results = Gather::default();
    for (index, item) in items.iter().enumerate() {
        results.add(lambda.run(evaluator, &[Some(item.clone()), Some(position(index))]))?;
    }
    results.finish()
}

fn map(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    let lambda = Lambda::read(evaluator, call, 1, 1, 2)?;
    let items = items(evaluator, call, &lambda)?;
    over(evaluator, &lambda, &items).map(Data::array)
}

fn filter(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    let lambda = Lambda::read(evaluator, call, 1, 1, 2)?;
    let items = items(evaluator, call, &lambda)?;
    let verdicts = over(evaluator, &lambda, &items)?;
    let mut kept = Vec::new();
    for (item, verdict) in items.into_iter().zip(verdicts) {
        if boolean(evaluator, call, &verdict)? {
            kept.push(item);
        }
    }
    Ok(Data::array(kept))
}

fn reduce(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    let lambda = Lambda::read(evaluator, call, 2, 2, 3)?;
    let items = items(evaluator, call, &lambda)?;
    let mut result = match call.arguments.get(1) {
        Some(initial) => evaluator.term(initial).map_err(|stop| lambda.possibly(evaluator, stop))?,
        None => Data::Null,
    };
    for (index, item) in items.into_iter().enumerate() {
        result = lambda.run(evaluator, &[Some(result), Some(item), Some(position(index))])?;
    }
    Ok(result)
}

fn map_values(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    let lambda = Lambda::read(evaluator, call, 1, 1, 1)?;
    let object = match call.arguments.first().map(|term| evaluator.term(term)) {
        Some(Ok(Data::Object(object))) => object,
        Some(Err(stop)) => return Err(lambda.possibly(evaluator, stop)),
        _ => return Err(evaluator.blame(call, "argument 1 must be an object.")),
    };
    let values: Vec<Data> = object.entries.iter().map(|(_, value)| value.clone()).collect();
    let values = over(evaluator, &lambda, &values)?;
    Ok(Data::object(object.entries.iter().map(|(name, _)| name.clone()).zip(values).collect()))
}

fn group_by(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    let lambda = Lambda::read(evaluator, call, 1, 1, 1)?;
    let items = items(evaluator, call, &lambda)?;
    let keys = over(evaluator, &lambda, &items)?;
    let mut names: Vec<Arc<str>> = Vec::new();
    let mut groups: std::collections::HashMap<Arc<str>, Vec<Data>> = std::collections::HashMap::new();
    for (key, item) in keys.iter().zip(items) {
        let name = text_key(evaluator, call, key)?;
        groups
            .entry(name.clone())
            .or_insert_with(|| {
                names.push(name);
                Vec::new()
            })
            .push(item);
    }
    let entries = names.into_iter().map(|name| {
        let group = groups.remove(&name).unwrap_or_default();
        (name, Data::array(group))
    });
    Ok(Data::object(entries.collect()))
}

fn to_object(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    let keys = Lambda::read(evaluator, call, 1, 1, 1)?;
    let values = match call.arguments.len() {
        3 => Some(Lambda::read(evaluator, call, 2, 1, 1)?),
        _ => None,
    };
    let items = items(evaluator, call, &keys)?;
    let names = over(evaluator, &keys, &items)?;
    let values = match values {
        Some(lambda) => over(evaluator, &lambda, &items)?,
        None => items,
    };
    let mut fields = Fields::default();
    for (name, value) in names.iter().zip(values) {
        fields.put(text_key(evaluator, call, name)?, value);
    }
    Ok(fields.finish())
}

/// Merge sort by a lambda that says whether its first argument comes before its second. Stable.
fn sort(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    let lambda = Lambda::read(evaluator, call, 1, 2, 2)?;
    let mut runs: Vec<Vec<Data>> = items(evaluator, call, &lambda)?.into_iter().map(|item| vec![item]).collect();
    while runs.len() > 1 {
        let mut merged = Vec::with_capacity(runs.len().div_ceil(2));
        let mut rest = runs.into_iter();
        while let Some(first) = rest.next() {
            match rest.next() {
                Some(second) => merged.push(merge(evaluator, call, &lambda, first, second)?),
                None => merged.push(first),
            }
        }
        runs = merged;
    }
    Ok(Data::array(runs.pop().unwrap_or_default()))
}

fn merge(
    evaluator: &mut Evaluator<'_>,
    call: &Call,
    lambda: &Lambda<'_>,
    first: Vec<Data>,
    second: Vec<Data>,
) -> Result<Vec<Data>, Stop> {
    let mut made = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter().peekable(), second.into_iter().peekable());
    while let (Some(a), Some(b)) = (first.peek(), second.peek()) {
        let verdict = lambda.run(evaluator, &[Some(b.clone()), Some(a.clone())])?;
        // Only an item that must come before goes before: equal ones keep their order.
        let order = if boolean(evaluator, call, &verdict)? && !tied(evaluator, call, lambda, a, b)? {
            Ordering::Greater
        } else {
            Ordering::Less
        };
        made.extend(if order.is_gt() { second.next() } else { first.next() });
    }
    made.extend(first);
    made.extend(second);
    Ok(made)
}

/// Whether `lessOrEquals`-like lambdas put each before the other.
fn tied(evaluator: &mut Evaluator<'_>, call: &Call, lambda: &Lambda<'_>, a: &Data, b: &Data) -> Result<bool, Stop> {
    let verdict = lambda.run(evaluator, &[Some(a.clone()), Some(b.clone())])?;
    boolean(evaluator, call, &verdict)
}

fn boolean(evaluator: &Evaluator<'_>, call: &Call, value: &Data) -> Result<bool, Stop> {
    match value {
        Data::Bool(value) => Ok(*value),
        other => Err(evaluator.blame(call, format!("its lambda must give a boolean, not {}.", other.kind()))),
    }
}

fn text_key(evaluator: &Evaluator<'_>, call: &Call, value: &Data) -> Result<Arc<str>, Stop> {
    match value {
        Data::Text(text) => Ok(text.clone()),
        other => Err(evaluator.blame(call, format!("its lambda must give a string, not {}.", other.kind()))),
    }
}

fn position(index: usize) -> Data {
    Data::Int(i64::try_from(index).unwrap_or(i64::MAX))
}
