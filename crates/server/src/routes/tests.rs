//! What the table promises.

use super::*;
use crate::compute::APPLICATION_ACCESS;
use crate::registry::Registry;

fn matched(method: Method, path: &str) -> Result<Matched, ArmError> {
    find(&method, &PathSegments::parse(path)?)
}

#[test]
fn every_route_says_which_action_it_takes() {
    for route in ROUTES {
        match route.action {
            Action::Fixed(action) | Action::Delegated(action) | Action::Own(action) => {
                let words: Vec<&str> = action.split('/').collect();
                assert!(words.len() >= 3 && words.iter().all(|word| !word.is_empty()), "{}: {action}", route.path);
                assert!(!action.contains('*'), "{}: {action}", route.path);
            }
            Action::Read | Action::Write | Action::Delete | Action::Invoke => {
                assert!(matches!(route.path, RESOURCE | COLLECTION | INVOCATION | INVOCATION_ABOUT), "{}", route.path);
            }
            // A question about the caller that is too long for a URL.
            Action::SignedIn if route.operation == Operation::CheckAccess => {}
            // Only what filters by itself may go without.
            Action::SignedIn | Action::ReadOfOperation => assert_eq!(route.method, Method::GET, "{}", route.path),
        }
    }
}

#[test]
fn writing_routes_take_writing_actions() {
    for route in ROUTES {
        let (Action::Fixed(action) | Action::Delegated(action) | Action::Own(action)) = route.action else {
            continue;
        };
        let verb = action.rsplit('/').next().unwrap();
        let expected = match route.method.as_str() {
            "GET" if action == APPLICATION_ACCESS => "action",
            "GET" | "HEAD" => "read",
            "PUT" | "PATCH" => "write",
            "DELETE" => "delete",
            // A question with a body: what has happened, under other rules.
            "POST" if route.operation == Operation::ReplayFlows => "read",
            // Whoever may write a hub may isolate it again.
            "POST" if route.operation == Operation::RestoreIsolation => "write",
            _ => "action",
        };
        assert_eq!(verb, expected, "{} {}", route.method, route.path);
    }
}

#[test]
fn every_type_can_be_asked_for_each_verb() {
    let group = "/subscriptions/0b1f6471-1bf0-4dda-aec3-cb9272f09590/resourceGroups/rg";
    for descriptor in Registry::new(false).all().filter(|descriptor| !descriptor.is_child()) {
        if descriptor.namespace == "Microsoft.Resources" {
            continue;
        }
        let name = descriptor.type_name();
        let id = format!("{group}/providers/{name}/one");
        for (method, verb) in
            [(Method::GET, "read"), (Method::PUT, "write"), (Method::PATCH, "write"), (Method::DELETE, "delete")]
        {
            let found = matched(method, &id.to_uppercase()).unwrap();
            assert_eq!(found.required_action(Some(&name)), Some(format!("{name}/{verb}")));
        }
        let list = matched(Method::GET, &format!("{group}/providers/{name}")).unwrap();
        assert_eq!(list.required_action(Some(&name)), Some(format!("{name}/read")));
        for action in descriptor.actions {
            let found = matched(Method::POST, &format!("{id}/{}", action.name)).unwrap();
            assert_eq!(found.required_action(Some(&name)), Some(format!("{name}/{}/action", action.name)));
        }
    }
}

#[test]
fn a_path_of_its_own_hides_the_generic_forms() {
    let tags = "/subscriptions/0b1f6471-1bf0-4dda-aec3-cb9272f09590/providers/Microsoft.Resources/tags/default";
    assert_eq!(matched(Method::GET, tags).unwrap().route.operation, Operation::ReadTags);
    assert_eq!(matched(Method::POST, tags).unwrap_err().status, 405);
    assert!(matched(Method::GET, tags).unwrap().target.is_subscription());
}

#[test]
fn an_extension_with_a_name_is_the_target_and_one_without_leaves_its_scope() {
    let hub = "/subscriptions/0b1f6471-1bf0-4dda-aec3-cb9272f09590/resourceGroups/rg/providers/Microsoft.X/hubs/one";
    let name = "1d9e6c2a-0000-4000-8000-000000000001";
    let item = format!("{hub}/providers/microsoft.authorization/ROLEASSIGNMENTS/{name}");
    let found = matched(Method::PUT, &item).unwrap();
    assert_eq!(found.route.action, Action::Delegated("Microsoft.Authorization/roleAssignments/write"));
    assert_eq!(found.target.key(), item.to_lowercase());
    assert_eq!(found.values, [name]);
    let list = matched(Method::GET, &format!("{hub}/providers/Microsoft.Authorization/roleAssignments")).unwrap();
    assert_eq!(list.target.to_string(), hub);
    let tenant = matched(Method::GET, "/providers/Microsoft.Authorization/roleAssignments").unwrap();
    assert!(tenant.target.is_tenant());
}

#[test]
fn a_known_path_with_a_wrong_method_is_405_and_names_the_right_ones() {
    let error = matched(Method::POST, "/subscriptions").unwrap_err();
    assert_eq!(error.status, 405);
    assert!(error.message.contains("GET"), "{}", error.message);
    assert_eq!(matched(Method::GET, "/nowhere").unwrap_err().status, 404);
}
