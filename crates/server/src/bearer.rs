//! The token a request carries.

use http::{HeaderMap, header};

/// The bearer token of a request, if it carries exactly one. Of two, none counts: whoever checks one and uses the other
/// lets a stranger in.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (given.next()?, given.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Option<String> {
        let headers = values.iter().map(|value| (header::AUTHORIZATION, value.parse().unwrap()));
        bearer(&headers.collect()).map(str::to_owned)
    }

    #[test]
    fn the_one_token_that_was_sent_counts() {
        assert_eq!(of(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(of(&["bEARER  abc "]).as_deref(), Some("abc"));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["Basic abc"]), None);
        assert_eq!(of(&["abc"]), None);
    }

    #[test]
    fn of_two_tokens_none_counts() {
        assert_eq!(of(&["Bearer abc", "Bearer abc"]), None);
    }
}
