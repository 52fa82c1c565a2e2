//! Effects: what follows when a rule is met.

use bastide_template::Formula;
use serde_json::{Map, Value};

use super::condition::{Condition, Reader};
use super::field::{Field, Step};
use super::{PolicyError, member};

/// What follows when a rule is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is put on record.
    Audit,
    /// It is put on record unless the resource fulfils another condition.
    AuditIfNotExists,
    /// The request is refused.
    Deny,
    /// The request is changed.
    Modify,
    /// What is missing is added to the request.
    Append,
    /// Nothing.
    Disabled,
}

/// What a rule says beside its effect.
#[derive(Debug, Clone)]
pub(super) enum Details {
    None,
    Append(Vec<Operation>),
    Modify { operations: Vec<Operation>, conflict: ConflictEffect },
    Existence { type_name: String, condition: Condition },
}

/// One change of the request.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) verb: Verb,
    pub(super) field: Formula,
    pub(super) value: Option<Formula>,
    pub(super) condition: Option<Formula>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Add,
    AddOrReplace,
    Remove,
    /// `append`: what is there already must be the same.
    Append,
}

/// What happens when two policies want to change one field in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConflictEffect {
    Deny,
    Audit,
}

impl Effect {
    /// The effect of that name in any case. What Bastide does not do is refused rather than passed over.
    pub fn read(text: &str) -> Result<Self, String> {
        let known = [Self::Audit, Self::AuditIfNotExists, Self::Deny, Self::Modify, Self::Append, Self::Disabled];
        known.into_iter().find(|effect| effect.name().eq_ignore_ascii_case(text)).ok_or_else(|| {
            format!("The effect '{text}' is not one Bastide has. Use audit, deny, modify, append or disabled.")
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::AuditIfNotExists => "auditIfNotExists",
            Self::Deny => "deny",
            Self::Modify => "modify",
            Self::Append => "append",
            Self::Disabled => "disabled",
        }
    }

    /// Whether the details fit it.
    pub(super) fn accepts(self, details: &Details) -> bool {
        match self {
            Self::Modify => matches!(details, Details::Modify { .. }),
            Self::Append => matches!(details, Details::Append(_)),
            Self::AuditIfNotExists => matches!(details, Details::Existence { .. }),
            Self::Audit | Self::Deny | Self::Disabled => true,
        }
    }
}

impl Details {
    pub(super) fn read(value: Option<&Value>, reader: &mut Reader<'_>) -> Result<Self, PolicyError> {
        match value {
            None => Ok(Self::None),
            Some(Value::Array(items)) => {
                let read = |(index, item)| append(item, &format!("{AT}[{index}]"), reader);
                items.iter().enumerate().map(read).collect::<Result<_, _>>().map(Self::Append)
            }
            Some(Value::Object(members)) if member(members, "operations").is_some() => modify(members, reader),
            Some(Value::Object(members)) if member(members, "type").is_some() => existence(members, reader),
            Some(Value::Object(members)) if members.is_empty() => Ok(Self::None),
            Some(_) => Err(PolicyError::rule(AT, "The details fit none of the effects modify and append.")),
        }
    }
}

fn append(value: &Value, place: &str, reader: &mut Reader<'_>) -> Result<Operation, PolicyError> {
    let members =
        value.as_object().ok_or_else(|| PolicyError::rule(place, "What is appended has a field and a value."))?;
    let operation = operation(Verb::Append, members, place, reader)?;
    if operation.value.is_none() {
        return Err(PolicyError::rule(place, "What is appended has a field and a value."));
    }
    Ok(operation)
}

fn modify(members: &Map<String, Value>, reader: &mut Reader<'_>) -> Result<Details, PolicyError> {
    let place = format!("{AT}.operations");
    let items = member(members, "operations").and_then(Value::as_array).filter(|items| !items.is_empty());
    let items = items.ok_or_else(|| PolicyError::rule(&*place, "'operations' is a list of at least one operation."))?;
    let mut operations = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let place = format!("{place}[{index}]");
        let members = item.as_object().ok_or_else(|| PolicyError::rule(&*place, "An operation is an object."))?;
        let verb = match member(members, "operation").and_then(Value::as_str).map(str::to_ascii_lowercase).as_deref() {
            Some("add") => Verb::Add,
            Some("addorreplace") => Verb::AddOrReplace,
            Some("remove") => Verb::Remove,
            _ => return Err(PolicyError::rule(place, "'operation' is add, addOrReplace or remove.")),
        };
        let operation = operation(verb, members, &place, reader)?;
        if (verb == Verb::Remove) != operation.value.is_none() {
            return Err(PolicyError::rule(place, "add and addOrReplace have a value, remove has none."));
        }
        operations.push(operation);
    }
    let conflict =
        match member(members, "conflictEffect").and_then(Value::as_str).map(str::to_ascii_lowercase).as_deref() {
            None | Some("deny") => ConflictEffect::Deny,
            // Where nothing may be changed the conflict is left alone.
            Some("audit" | "disabled") => ConflictEffect::Audit,
            Some(_) => return Err(PolicyError::rule(format!("{AT}.conflictEffect"), "Use deny, audit or disabled.")),
        };
    Ok(Details::Modify { operations, conflict })
}

fn operation(
    verb: Verb,
    members: &Map<String, Value>,
    place: &str,
    reader: &mut Reader<'_>,
) -> Result<Operation, PolicyError> {
    let formula = |name: &str| match member(members, name) {
        Some(value) => reader.formula(value, &format!("{place}.{name}")).map(Some),
        None => Ok(None),
    };
    let field = formula("field")?.ok_or_else(|| PolicyError::rule(place, "The field to change is missing."))?;
    if let Some(Value::String(name)) = field.literal() {
        changeable(verb, &Field::read(&name, place)?).map_err(|message| PolicyError::rule(place, message))?;
    }
    Ok(Operation { verb, field, value: formula("value")?, condition: formula("condition")? })
}

/// What a policy may change: tags, and the properties that Azure lets it change. An append may add any property, but
/// goes through one list only.
pub(super) fn changeable(verb: Verb, field: &Field) -> Result<(), String> {
    let (changeable, name) = match field {
        Field::Tag(_) => (true, String::new()),
        Field::Alias(alias) if verb == Verb::Append => {
            let lists = alias.steps.iter().filter(|step| **step == Step::Each).count();
            (lists == 0 || lists == 1 && alias.steps.last() == Some(&Step::Each), alias.name())
        }
        Field::Alias(alias) => (alias.is_modifiable() && !alias.steps.contains(&Step::Each), alias.name()),
        _ => (false, "it".to_owned()),
    };
    if changeable {
        return Ok(());
    }
    Err(format!("A policy cannot change {name}. It can change tags['name'] and aliases that are marked as modifiable."))
}

/// A resource that audits itself. Whether *other* resources exist is nothing a policy can ask here.
fn existence(members: &Map<String, Value>, reader: &mut Reader<'_>) -> Result<Details, PolicyError> {
    let place = format!("{AT}.existenceCondition");
    let type_name = member(members, "type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let name = member(members, "name").and_then(Value::as_str).unwrap_or_default();
    let is_itself = name.replace(' ', "").eq_ignore_ascii_case("[field('name')]")
        && member(members, "resourceGroupName").is_none()
        && member(members, "deployment").is_none();
    let condition = member(members, "existenceCondition");
    let (true, Some(condition)) = (is_itself, condition) else {
        let message = "auditIfNotExists and deployIfNotExists look for other resources, which Bastide does not do. Use \
                       audit or deny; or let auditIfNotExists look at the resource itself: its type, the name \
                       [field('name')] and an existenceCondition.";
        return Err(PolicyError::new("UnsupportedPolicyEffect", AT, message));
    };
    Ok(Details::Existence { type_name, condition: reader.condition(condition, &place)? })
}

const AT: &str = "properties.policyRule.then.details";
