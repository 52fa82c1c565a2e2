//! `$filter` of the access lists: `atScope()`, `atScopeAndBelow()`, `assignedTo('{oid}')` and comparisons, joined by `and`.

use bastide_arm::error::ArmError;
use bastide_arm::filter::{Expr, Property};
use uuid::Uuid;

use super::covers;
use crate::request::Request;

/// A filter, read.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// At the scope and above, nothing below.
    pub(super) at_scope: bool,
    /// At the scope and below, nothing above.
    pub(super) at_scope_and_below: bool,
    /// What reaches this principal, through its groups too.
    pub(super) assigned_to: Option<Uuid>,
    /// The comparisons.
    pub(super) comparisons: Option<Expr>,
}

impl Filter {
    pub(super) fn read(request: &Request<'_>, properties: &[Property]) -> Result<Self, ArmError> {
        let text = request.context.query_value("$filter").unwrap_or_default();
        let mut filter = Self::default();
        let mut comparisons = Vec::new();
        for term in terms(&text) {
            let lower = term.to_ascii_lowercase();
            match lower.as_str() {
                "" => {}
                "atscope()" | "atexactscope()" => filter.at_scope = true,
                "atscopeandbelow()" => filter.at_scope_and_below = true,
                _ => match lower.strip_prefix("assignedto(").and_then(|rest| rest.strip_suffix(')')) {
                    Some(principal) => filter.assigned_to = Some(object_id(principal)?),
                    None => comparisons.push(term),
                },
            }
        }
        if !comparisons.is_empty() {
            filter.comparisons = Some(Expr::parse(&comparisons.join(" and "), properties)?);
        }
        Ok(filter)
    }

    /// Whether something made at `made_at` belongs into a list at `scope`.
    pub(super) fn reaches(&self, made_at: &str, scope: &str) -> bool {
        let (above, below) = (covers(made_at, scope), covers(scope, made_at));
        match (self.at_scope, self.at_scope_and_below) {
            (true, _) => above,
            (false, true) => below,
            (false, false) => above || below,
        }
    }

    /// Whether the comparisons hold.
    pub(super) fn matches<'a>(&self, lookup: &impl Fn(&Property) -> Option<&'a str>) -> bool {
        self.comparisons.as_ref().is_none_or(|comparisons| comparisons.matches(lookup))
    }
}

/// The terms between the outermost `and`s; words inside quotes and parentheses are left alone.
pub(crate) fn terms(text: &str) -> Vec<&str> {
    let (mut quoted, mut depth, mut start) = (false, 0_u32, 0);
    let mut found = Vec::new();
    for (at, letter) in text.char_indices() {
        match letter {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            ' ' if !quoted && depth == 0 => {
                let rest = text.get(at..).unwrap_or_default();
                if rest.get(..5).is_some_and(|word| word.eq_ignore_ascii_case(" and ")) && at >= start {
                    found.push(text.get(start..at).unwrap_or_default().trim());
                    start = at + 5;
                }
            }
            _ => {}
        }
    }
    found.push(text.get(start..).unwrap_or_default().trim());
    found
}

fn object_id(quoted: &str) -> Result<Uuid, ArmError> {
    Uuid::try_parse(quoted.trim().trim_matches('\'')).map_err(|_| {
        let message = "assignedTo() takes the object id of a principal in quotes: assignedTo('{object id}').";
        ArmError::new(400, "InvalidFilterInQueryString", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_end_at_the_outermost_and() {
        assert_eq!(terms("atScope() and assignedTo('a and b')"), ["atScope()", "assignedTo('a and b')"]);
        assert_eq!(terms("(a eq 'x' and b eq 'y') AND c eq 'z'"), ["(a eq 'x' and b eq 'y')", "c eq 'z'"]);
        assert_eq!(terms(""), [""]);
    }
}
