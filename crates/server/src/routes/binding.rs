//! How a path is bound to a row of the table.

use bastide_arm::error::ArmError;
use bastide_arm::id::{ArmPath, ResourceId};
use bastide_arm::path::PathSegments;

use super::{COLLECTION, INVOCATION, INVOCATION_ABOUT, Matched, NAME, RESOURCE, Route};

/// Binds a path to a row; `None` when the row is about other paths, an error when it is but the path is malformed.
pub(super) fn bind(route: &'static Route, path: &PathSegments, lower: &[String]) -> Option<Result<Matched, ArmError>> {
    match route.path {
        RESOURCE | COLLECTION | INVOCATION | INVOCATION_ABOUT => bind_generic(route, path),
        pattern => match (pattern.strip_prefix("{scope}"), pattern.strip_prefix("{level}")) {
            (Some(rest), _) => bind_extension(route, rest, path, lower),
            (_, Some(rest)) => bind_level(route, rest, path, lower),
            (None, None) => bind_fixed(route, path, lower),
        },
    }
}

fn bind_fixed(route: &'static Route, path: &PathSegments, lower: &[String]) -> Option<Result<Matched, ArmError>> {
    let pattern: Vec<&str> = route.path.split('/').filter(|segment| !segment.is_empty()).collect();
    if pattern.len() != lower.len()
        || !pattern.iter().zip(lower).all(|(want, have)| want.starts_with('{') || *want == have)
    {
        return None;
    }
    let mut scope: Vec<String> = Vec::new();
    let mut values = Vec::new();
    for (want, have) in pattern.iter().zip(path.as_slice()) {
        match *want {
            "{subscription}" => scope.extend(["subscriptions".to_owned(), have.clone()]),
            "{group}" => scope.extend(["resourceGroups".to_owned(), have.clone()]),
            want if want.starts_with('{') => values.push(have.clone()),
            _ => {}
        }
    }
    let target = ResourceId::from_segments(&scope);
    Some(target.map(|target| Matched { route, target, type_name: None, action_name: None, values }))
}

/// The target of a row that ends in `{name}` is the extension itself; of others, the scope it is on, also where the row
/// ends in a value of another name: a secret is part of no id.
fn bind_extension(
    route: &'static Route,
    rest: &'static str,
    path: &PathSegments,
    lower: &[String],
) -> Option<Result<Matched, ArmError>> {
    let suffix: Vec<&str> = rest.split('/').filter(|segment| !segment.is_empty()).collect();
    let at = lower.len().checked_sub(suffix.len())?;
    if lower.get(at..)?.iter().zip(&suffix).any(|(have, want)| !want.starts_with('{') && have != want) {
        return None;
    }
    let names = suffix.last() == Some(&NAME);
    let end = if names { lower.len() } else { at };
    let target = ResourceId::from_segments(path.as_slice().get(..end)?);
    let bound = path.as_slice().get(at..)?.iter().zip(&suffix).filter(|(_, want)| want.starts_with('{'));
    let values = bound.map(|(value, _)| value.clone()).collect();
    Some(target.map(|target| Matched { route, target, type_name: None, action_name: None, values }))
}

/// The target of a row with `{deployment}` is that deployment, also where the path leaves out its provider.
fn bind_level(
    route: &'static Route,
    rest: &'static str,
    path: &PathSegments,
    lower: &[String],
) -> Option<Result<Matched, ArmError>> {
    let suffix: Vec<&str> = rest.split('/').filter(|segment| !segment.is_empty()).collect();
    let at = lower.len().checked_sub(suffix.len())?;
    let is_level = matches!(lower.get(..at)?, [] | [_, _])
        || matches!(lower.get(..at)?, [_, _, groups, _] if groups == "resourcegroups");
    let fits = |(want, have): (&&str, &String)| want.starts_with('{') || want == have;
    if !is_level || !suffix.iter().zip(lower.get(at..)?).all(fits) {
        return None;
    }
    let mut target = path.as_slice().get(..at)?.to_vec();
    let mut values = Vec::new();
    for (want, have) in suffix.iter().zip(path.as_slice().get(at..)?) {
        match *want {
            "{deployment}" => {
                target.extend(["providers", "Microsoft.Resources", "deployments"].map(str::to_owned));
                target.push(have.clone());
            }
            want if want.starts_with('{') => values.push(have.clone()),
            _ => {}
        }
    }
    let target = ResourceId::from_segments(&target);
    Some(target.map(|target| Matched { route, target, type_name: None, action_name: None, values }))
}

fn bind_generic(route: &'static Route, path: &PathSegments) -> Option<Result<Matched, ArmError>> {
    let matched = |target, type_name: String, action_name| Matched {
        route,
        target,
        type_name: Some(type_name),
        action_name,
        values: Vec::new(),
    };
    Some(match (route.path, ArmPath::parse(path)) {
        (_, Err(error)) => Err(error),
        (RESOURCE, Ok(ArmPath::Resource(id))) => {
            let type_name = id.type_name();
            Ok(matched(id, type_name, None))
        }
        (COLLECTION, Ok(ArmPath::Collection(collection))) => {
            let type_name = collection.type_name();
            Ok(matched(collection.parent(), type_name, None))
        }
        (INVOCATION, Ok(path)) => {
            let (id, action) = path.split_action()?;
            if !id.is_resource() {
                return None;
            }
            let (type_name, action) = (id.type_name(), action.to_owned());
            Ok(matched(id, type_name, Some(action)))
        }
        // What reads as a child is an action with its argument, where the parent's type has such a one.
        (INVOCATION_ABOUT, Ok(ArmPath::Resource(id))) => {
            let parent = id.parent().filter(ResourceId::is_resource)?;
            let (type_name, argument) = (parent.type_name(), id.name().to_owned());
            let action = id.types().last().map(|word| (*word).to_owned());
            Ok(Matched { values: vec![argument], ..matched(parent, type_name, action) })
        }
        _ => return None,
    })
}

/// Whether a generic row is about this path at all, whatever the method.
pub(super) fn takes(route: &'static Route, path: &PathSegments) -> bool {
    matches!(bind_generic(route, path), Some(Ok(_)))
}
