//! `$filter`: what is printed means the same, and an index never hides a match.

use bastide_arm::filter::{Expr, RESOURCE_PROPERTIES};

/// Reads the input as a filter over resources.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(filter) = Expr::parse(text, RESOURCE_PROPERTIES) else { return };
    let printed = filter.to_string();
    if let Ok(again) = Expr::parse(&printed, RESOURCE_PROPERTIES) {
        assert_eq!(again, filter);
    } else {
        assert!(printed.len() > text.len(), "a printed filter can be read unless it outgrew the limit");
    }
    for value in [None, Some(""), Some("a")] {
        if filter.matches(&|_| value) {
            for (_, required) in filter.required_equalities() {
                assert!(value.is_some_and(|value| value.eq_ignore_ascii_case(required)));
            }
        }
    }
}
