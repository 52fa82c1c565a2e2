//! Paths and ids: whatever is accepted prints, and what is printed means the same.

use bastide_arm::error::ArmError;
use bastide_arm::id::{ArmPath, ResourceId};
use bastide_arm::path::PathSegments;

/// Reads the input as a request path and as an id in a body.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match ResourceId::parse(text) {
        Ok(id) => check_id(&id),
        Err(error) => check_error(&error),
    }
    match PathSegments::parse(text).and_then(|path| ArmPath::parse(&path)) {
        Ok(path) => check_path(&path),
        Err(error) => check_error(&error),
    }
}

fn check_path(path: &ArmPath) {
    let action = path.split_action();
    match path {
        ArmPath::Resource(id) => {
            assert!(action.is_none());
            check_id(id);
        }
        ArmPath::Collection(list) => {
            let (target, word) = action.expect("a collection's path may be an action's");
            assert_eq!(target, list.parent());
            assert_eq!(Some(word), list.types().last().copied());
            assert_eq!(list.types().len(), list.names().len() + 1);
            check_id(&target);
            if let Ok(member) = list.member("x") {
                assert_eq!(member.key(), format!("{}x", list.prefix()));
                assert_eq!(member.type_name(), list.type_name());
                check_id(&member);
            }
        }
        ArmPath::Under { scope, rest } => {
            assert!(!rest.is_empty());
            check_id(scope);
        }
    }
}

fn check_id(id: &ResourceId) {
    let text = id.to_string();
    let again = ResourceId::parse(&text).expect("a printed id can be read");
    assert_eq!(again.to_string(), text);
    assert_eq!(again.key(), id.key());
    assert_eq!(id.key(), text.to_ascii_lowercase());
    assert_eq!(ResourceId::parse(id.key()).expect("a key is an id").key(), id.key());
    assert!(!text.chars().any(char::is_control) && !text.contains("//") && !text.contains("/../"));
    let mut ancestors = 0;
    for ancestor in std::iter::successors(id.parent(), ResourceId::parent) {
        assert!(id.is_within(&ancestor) && !ancestor.is_within(id));
        ancestors += 1;
    }
    assert!(ancestors <= 64);
}

fn check_error(error: &ArmError) {
    assert!((400..500).contains(&error.status));
    assert!(!error.message.chars().any(char::is_control) && error.message.len() < 4096);
}
