//! The functions of the template language, one file a family.

mod array;
mod cidr;
mod date;
mod deployment;
mod format;
mod lambda;
mod logical;
mod numeric;
mod object;
mod policy;
pub(crate) mod resource;
pub(crate) mod scope;
mod string;
pub(crate) mod unique_string;
mod uri;

pub(crate) use policy::find_in_policy;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::data::{Data, Object};
use crate::error::Trouble;
use crate::evaluator::{Evaluator, Outcome};
use crate::expression::Call;
use crate::limits::Budget;

/// A function: its name, how many arguments it takes, and what it does.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) least: usize,
    pub(crate) most: usize,
    pub(crate) run: Run,
}

#[derive(Debug)]
pub(crate) enum Run {
    /// Depends on its arguments alone.
    Pure(fn(&mut Arguments<'_>) -> Result<Data, Trouble>),
    /// Looks at the deployment, at live state, or at its arguments before they are evaluated.
    Special(fn(&mut Evaluator<'_>, &Call) -> Outcome),
}

/// No upper bound on the number of arguments.
pub(crate) const MANY: usize = usize::MAX;

/// The function of this name, in any case.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    let lower = name.to_ascii_lowercase();
    match BY_NAME.get(lower.as_str()) {
        Some(function) => Some(function),
        // `listKeys`, `listAdminKeys`, ...: any action of a resource that begins so.
        None if lower.starts_with("list") => Some(&resource::LIST),
        None => None,
    }
}

/// The function whose name is most like this one, if any is.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    let lower: Vec<char> = name.chars().take(40).map(|character| character.to_ascii_lowercase()).collect();
    let near = TABLES.iter().flat_map(|table| table.iter()).map(|function| (distance(&lower, function.name), function));
    near.min_by_key(|(distance, _)| *distance).filter(|(distance, _)| *distance <= 2).map(|(_, function)| function.name)
}

/// The arguments of a pure function, read by position with the type the function wants.
pub(crate) struct Arguments<'a> {
    values: &'a [Data],
    pub(crate) budget: &'a mut Budget,
}

impl<'a> Arguments<'a> {
    pub(crate) fn new(values: &'a [Data], budget: &'a mut Budget) -> Self {
        Self { values, budget }
    }

    pub(crate) fn all(&self) -> &'a [Data] {
        self.values
    }

    pub(crate) fn has(&self, position: usize) -> bool {
        self.values.len() > position
    }

    pub(crate) fn any(&self, position: usize) -> &'a Data {
        self.values.get(position).unwrap_or(&Data::Null)
    }

    pub(crate) fn text(&self, position: usize) -> Result<&'a str, Trouble> {
        match self.any(position) {
            Data::Text(text) => Ok(text),
            _ => Err(self.wrong(position, "a string")),
        }
    }

    /// A string, or a scalar that has one obvious spelling.
    pub(crate) fn scalar(&self, position: usize) -> Result<String, Trouble> {
        match self.any(position) {
            Data::Null | Data::Array(_) | Data::Object(_) => Err(self.wrong(position, "a string")),
            value => Ok(value.display()),
        }
    }

    pub(crate) fn int(&self, position: usize) -> Result<i64, Trouble> {
        match self.any(position) {
            Data::Int(number) => Ok(*number),
            _ => Err(self.wrong(position, "an integer")),
        }
    }

    pub(crate) fn boolean(&self, position: usize) -> Result<bool, Trouble> {
        match self.any(position) {
            Data::Bool(value) => Ok(*value),
            _ => Err(self.wrong(position, "a boolean")),
        }
    }

    pub(crate) fn array(&self, position: usize) -> Result<&'a [Data], Trouble> {
        match self.any(position) {
            Data::Array(array) => Ok(&array.items),
            _ => Err(self.wrong(position, "an array")),
        }
    }

    pub(crate) fn object(&self, position: usize) -> Result<&'a Arc<Object>, Trouble> {
        match self.any(position) {
            Data::Object(object) => Ok(object),
            _ => Err(self.wrong(position, "an object")),
        }
    }

    /// Pays for a walk through everything in an argument.
    pub(crate) fn walk(&mut self, position: usize) -> Result<(), Trouble> {
        let weight = self.any(position).weight();
        // Comparing or writing out a few bytes takes about as long as a step.
        self.budget.steps(weight / 4 + 1)
    }

    /// The complaint that an argument has the wrong type. It never shows the value, which may be secret.
    pub(crate) fn wrong(&self, position: usize, expected: &str) -> Trouble {
        format!("argument {} must be {expected}, but it is {}.", position + 1, self.any(position).kind()).into()
    }
}

const fn pure(
    name: &'static str,
    least: usize,
    most: usize,
    function: fn(&mut Arguments<'_>) -> Result<Data, Trouble>,
) -> Function {
    Function { name, least, most, run: Run::Pure(function) }
}

const fn special(
    name: &'static str,
    least: usize,
    most: usize,
    function: fn(&mut Evaluator<'_>, &Call) -> Outcome,
) -> Function {
    Function { name, least, most, run: Run::Special(function) }
}

/// Edits that turn one name into the other, counted; good enough for a hint.
fn distance(name: &[char], other: &str) -> usize {
    let other: Vec<char> = other.chars().map(|character| character.to_ascii_lowercase()).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (position, own) in name.iter().enumerate() {
        let mut diagonal = position;
        let mut left = position + 1;
        for (theirs, cell) in other.iter().zip(row.iter_mut().skip(1)) {
            let cost = (*cell + 1).min(left + 1).min(diagonal + usize::from(own != theirs));
            diagonal = std::mem::replace(cell, cost);
            left = cost;
        }
        if let Some(first) = row.first_mut() {
            *first = position + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

const TABLES: &[&[Function]] = &[
    array::FUNCTIONS,
    cidr::FUNCTIONS,
    date::FUNCTIONS,
    deployment::FUNCTIONS,
    lambda::FUNCTIONS,
    logical::FUNCTIONS,
    numeric::FUNCTIONS,
    object::FUNCTIONS,
    resource::FUNCTIONS,
    scope::FUNCTIONS,
    string::FUNCTIONS,
    uri::FUNCTIONS,
];

static BY_NAME: LazyLock<HashMap<String, &'static Function>> = LazyLock::new(|| {
    TABLES
        .iter()
        .flat_map(|table| table.iter())
        .map(|function| (function.name.to_ascii_lowercase(), function))
        .collect()
});
