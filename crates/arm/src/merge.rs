//! JSON merge patch (RFC 7396): how a PATCH changes `properties`.

use serde_json::{Map, Value};

/// Applies `patch` to `target`: objects merge member by member, `null` removes a member, anything else replaces.
///
/// Recurses as deep as the patch is nested, which [`crate::json::parse`] bounds.
pub fn merge_patch(target: &mut Value, patch: &Value) {
    match patch {
        Value::Object(changes) => {
            if !target.is_object() {
                *target = Value::Object(Map::new());
            }
            if let Value::Object(members) = target {
                merge_members(members, changes);
            }
        }
        other => target.clone_from(other),
    }
}

/// Applies the members of a patch to the members of an object; as [`merge_patch`].
pub fn merge_members(members: &mut Map<String, Value>, changes: &Map<String, Value>) {
    for (name, change) in changes {
        if change.is_null() {
            // Keeps the order of the other members, unlike swap_remove.
            members.shift_remove(name);
        } else {
            merge_patch(members.entry(name.as_str()).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::json::tests::any_value;

    fn merged(mut target: Value, patch: &Value) -> Value {
        merge_patch(&mut target, patch);
        target
    }

    #[test]
    fn the_examples_of_rfc_7396_appendix_a() {
        for (target, patch, result) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a":"b"}), json!(["c"]), json!(["c"])),
            (json!({"a":"foo"}), json!(null), json!(null)),
            (json!({"a":"foo"}), json!("bar"), json!("bar")),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ] {
            assert_eq!(merged(target.clone(), &patch), result, "{target} + {patch}");
        }
    }

    #[test]
    fn a_removal_keeps_the_order_of_the_rest() {
        let result = merged(json!({"a": 1, "b": 2, "c": 3}), &json!({"a": null}));
        assert_eq!(result.to_string(), r#"{"b":2,"c":3}"#);
    }

    fn has_null_member(value: &Value) -> bool {
        match value {
            Value::Object(members) => members.values().any(|member| member.is_null() || has_null_member(member)),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn applying_a_patch_twice_is_applying_it_once(target in any_value(), patch in any_value()) {
            let once = merged(target, &patch);
            prop_assert_eq!(merged(once.clone(), &patch), once);
        }

        #[test]
        fn an_empty_patch_changes_no_object(target in any_value().prop_filter("object", Value::is_object)) {
            prop_assert_eq!(merged(target.clone(), &json!({})), target);
        }

        #[test]
        fn a_patch_without_nulls_onto_nothing_is_itself(patch in any_value()) {
            prop_assume!(!has_null_member(&patch));
            prop_assert_eq!(merged(Value::Null, &patch), patch);
        }
    }
}
