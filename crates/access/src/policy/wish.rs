//! Wishes: what rules with the effects `modify` and `append` want changed of a request, and what comes of several.

use serde_json::Value;

use super::effect::{ConflictEffect, Details, Operation, Verb, changeable};
use super::field::{Field, Found, Step};
use super::operator::same;
use super::rule::{InForce, Rule, unsaid};
use super::subject::Subject;
use super::verdict::{Adjustment, Change, Finding, Target};

/// A change that one rule wants.
pub(super) struct Wish<'a> {
    finding: Finding<'a>,
    conflict: ConflictEffect,
    change: Change,
}

/// The changes that one rule wants.
pub(super) fn wishes_of<'a>(in_force: &InForce<'a>, subject: &Subject<'_>) -> Result<Vec<Wish<'a>>, String> {
    if !in_force.is_broken_by(subject).map_err(|trouble| unsaid(&trouble))? {
        return Ok(Vec::new());
    }
    let (operations, conflict) = match &in_force.rule.definition.details {
        Details::Append(operations) => (operations, ConflictEffect::Deny),
        Details::Modify { operations, conflict } => (operations, *conflict),
        Details::None | Details::Existence { .. } => return Ok(Vec::new()),
    };
    let mut wishes = Vec::new();
    for operation in operations {
        let change = change(in_force.rule, operation, subject)?;
        let wish = |change| Wish { finding: in_force.finding(subject, None), conflict, change };
        wishes.extend(change.map(wish));
    }
    Ok(wishes)
}

/// Decides between policies that want one thing in two ways: whoever insists wins, two who insist refuse.
pub(super) fn settle<'a>(wishes: Vec<Wish<'a>>, adjustment: &mut Adjustment<'a>) {
    let mut settled: Vec<Wish<'a>> = Vec::new();
    let mut given_up: Vec<Target> = Vec::new();
    for wish in wishes {
        let rival = settled.iter().position(|other| is_same_target(&other.change.target, &wish.change.target));
        let Some(rival) = rival.filter(|_| !matches!(wish.change.target, Target::List(_))) else {
            settled.push(wish);
            continue;
        };
        let Some(stands) = settled.get_mut(rival) else { continue };
        if stands.change.value == wish.change.value {
            continue;
        }
        match (stands.conflict, wish.conflict) {
            (ConflictEffect::Deny, ConflictEffect::Deny) => {
                let reason = format!("It is at odds with '{}' about one field.", stands.finding.assignment.id);
                adjustment.refusals.push(Finding { reason: Some(reason), ..wish.finding });
            }
            (ConflictEffect::Deny, ConflictEffect::Audit) => {}
            (ConflictEffect::Audit, ConflictEffect::Deny) => *stands = wish,
            (ConflictEffect::Audit, ConflictEffect::Audit) => given_up.push(wish.change.target),
        }
    }
    let changes = settled.into_iter().filter(|wish| {
        wish.conflict == ConflictEffect::Deny
            || !given_up.iter().any(|other| is_same_target(other, &wish.change.target))
    });
    adjustment.changes = changes.map(|wish| wish.change).collect();
}

/// What an operation changes, if anything.
fn change(rule: &Rule, operation: &Operation, subject: &Subject<'_>) -> Result<Option<Change>, String> {
    let evaluation = rule.evaluation(subject);
    let said = |trouble: String| unsaid(&trouble);
    if let Some(condition) = &operation.condition
        && !same(&evaluation.formula(condition).map_err(said)?, &Value::Bool(true))
    {
        return Ok(None);
    }
    let field = evaluation.field_of(&operation.field).map_err(said)?;
    changeable(operation.verb, &field)?;
    let target = target(&field);
    let value = match &operation.value {
        Some(value) => Some(evaluation.formula(value).map_err(said)?),
        None => None,
    };
    let found = evaluation.find(&field).map_err(said)?;
    let new = match (operation.verb, found, value) {
        (Verb::Remove, Found::Missing, _) => return Ok(None),
        (Verb::Remove, _, _) => return Ok(Some(Change { target, value: None })),
        // A value that is not there, such as a tag the group does not have.
        (_, _, None | Some(Value::Null)) | (Verb::Add, Found::One(_), _) => return Ok(None),
        (Verb::AddOrReplace, Found::One(stands), Some(new)) if same(&stands, &new) => return Ok(None),
        (Verb::Append, Found::One(stands), Some(new)) => {
            if same(&stands, &new) {
                return Ok(None);
            }
            return Err("The policy appends a value where the request has another one.".to_owned());
        }
        (_, Found::Many(stands), Some(new)) if stands.iter().any(|item| same(item, &new)) => return Ok(None),
        (_, _, Some(new)) => new,
    };
    let value = match (&target, new) {
        (Target::Tag(_), Value::String(text)) => Value::String(text),
        (Target::Tag(_), Value::Number(number)) => Value::String(number.to_string()),
        (Target::Tag(_), Value::Bool(value)) => Value::String(value.to_string()),
        (Target::Tag(name), _) => return Err(format!("The policy gives the tag '{name}' a value that is no text.")),
        (_, new) => new,
    };
    Ok(Some(Change { target, value: Some(value) }))
}

fn target(field: &Field) -> Target {
    match field {
        Field::Tag(name) => Target::Tag(name.clone()),
        Field::Alias(alias) => {
            let names = alias.steps.iter().filter_map(|step| match step {
                Step::Member(name) => Some(name.clone()),
                Step::Each => None,
            });
            let path = names.collect();
            if alias.steps.contains(&Step::Each) { Target::List(path) } else { Target::Property(path) }
        }
        _ => Target::Property(Vec::new()),
    }
}

fn is_same_target(one: &Target, other: &Target) -> bool {
    match (one, other) {
        (Target::Tag(one), Target::Tag(other)) => one.eq_ignore_ascii_case(other),
        (one, other) => one == other,
    }
}
