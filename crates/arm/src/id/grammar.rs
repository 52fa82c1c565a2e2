//! The grammar of ids, piece by piece.

use uuid::Uuid;

use super::{Pair, Root};
use crate::error::{ArmError, shown};

impl Root {
    pub(super) fn read(segments: &[String]) -> Result<(Self, &[String]), ArmError> {
        match segments {
            [subscriptions, given, rest @ ..] if is_word(subscriptions, "subscriptions") => {
                let subscription = read_subscription(given)?;
                match rest {
                    [groups, group, rest @ ..] if is_word(groups, "resourceGroups") => {
                        check_group(group)?;
                        Ok((Self::Group { subscription, group: group.clone() }, rest))
                    }
                    _ => Ok((Self::Subscription { subscription }, rest)),
                }
            }
            _ => Ok((Self::Tenant, segments)),
        }
    }
}

impl Pair {
    pub(super) fn new(kind: &str, name: &str) -> Result<Self, ArmError> {
        check_type(kind)?;
        check_name(name)?;
        Ok(Self { kind: kind.to_owned(), name: name.to_owned() })
    }
}

/// Pairs of type and name, then either a type left without a name, or what follows from the next `providers` on.
pub(super) type Pairs<'a> = (Vec<Pair>, Option<&'a str>, &'a [String]);

pub(super) fn read_pairs(mut rest: &[String]) -> Result<Pairs<'_>, ArmError> {
    let mut pairs = Vec::new();
    loop {
        match rest {
            [] => return Ok((pairs, None, rest)),
            [keyword, ..] if is_word(keyword, "providers") && !pairs.is_empty() => return Ok((pairs, None, rest)),
            [kind] => {
                check_type(kind)?;
                return Ok((pairs, Some(kind), &[]));
            }
            [kind, name, after @ ..] => {
                pairs.push(Pair::new(kind, name)?);
                rest = after;
            }
        }
    }
}

fn read_subscription(text: &str) -> Result<String, ArmError> {
    // The parser of uuid also takes braces, "urn:uuid:" and no hyphens; all of those have another length.
    match Uuid::try_parse(text) {
        Ok(subscription) if text.len() == uuid::fmt::Hyphenated::LENGTH => Ok(subscription.to_string()),
        _ => Err(ArmError::invalid_subscription_id(text)),
    }
}

pub(super) fn check_group(name: &str) -> Result<(), ArmError> {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '(' | ')');
    let length = name.chars().count();
    if (1..=MAX_GROUP_NAME).contains(&length) && name.chars().all(allowed) && !name.ends_with('.') {
        Ok(())
    } else {
        Err(ArmError::invalid_resource_group(name))
    }
}

pub(super) fn check_namespace(namespace: &str) -> Result<(), ArmError> {
    let begins = namespace.starts_with(|c: char| c.is_ascii_alphabetic());
    if begins && namespace.len() <= MAX_NAME && namespace.chars().all(is_type_character) {
        Ok(())
    } else {
        Err(ArmError::invalid_resource_namespace(namespace))
    }
}

fn check_type(kind: &str) -> Result<(), ArmError> {
    let reserved = is_word(kind, "providers");
    if kind.chars().all(is_type_character) && (1..=MAX_NAME).contains(&kind.len()) && !reserved {
        Ok(())
    } else {
        let message =
            format!("'{}' cannot be a resource type; use ASCII letters, digits, '.', '-' or '_'.", shown(kind));
        Err(ArmError::new(400, "InvalidResourceType", message))
    }
}

fn check_name(name: &str) -> Result<(), ArmError> {
    let allowed = |c: char| !matches!(c, '<' | '>' | '%' | '&' | ':' | '?' | '#' | '\\' | '/') && !c.is_control();
    let length = name.chars().count();
    let reserved = is_word(name, "providers") || name == "." || name == "..";
    if (1..=MAX_NAME).contains(&length) && name.chars().all(allowed) && !reserved {
        return Ok(());
    }
    Err(ArmError::new(
        400,
        "InvalidResourceName",
        format!(
            "'{}' cannot be a resource name; use 1 to {MAX_NAME} characters without < > % & : ? # \\ / and not the word 'providers'.",
            shown(name)
        ),
    )
    .with_target("name"))
}

fn is_type_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

pub(super) fn is_word(segment: &str, word: &str) -> bool {
    segment.eq_ignore_ascii_case(word)
}

pub(super) fn respell(ours: &mut String, theirs: &str) {
    if ours.eq_ignore_ascii_case(theirs) {
        theirs.clone_into(ours);
    }
}

/// Characters of a resource group's name (reference/arm-models.md 1.1).
const MAX_GROUP_NAME: usize = 90;
/// Characters of any other name (same place).
const MAX_NAME: usize = 260;
