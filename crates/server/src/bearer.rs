//! The token a request carries.

use http::{HeaderMap, header};

use crate::compute::is_websocket;

/// The bearer token of a request, if it carries exactly one. Of two, none counts: whoever checks one and uses the other
/// lets a stranger in.
///
/// A page's script cannot put a header on a WebSocket, but can name sub-protocols: there one of them may be the token.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (given.next(), given.next()) else { return None };
    let Some(value) = value else { return among_protocols(headers) };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn among_protocols(headers: &HeaderMap) -> Option<&str> {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let mut tokens = offered.flat_map(|value| value.split(',')).filter_map(|word| word.trim().strip_prefix(PROTOCOL));
    match (tokens.next(), tokens.next()) {
        (Some(only), None) if is_websocket(headers) => Some(only),
        _ => None,
    }
}

/// What stands before a token among sub-protocols. All letters of a token may stand there (RFC 9110, section 5.6.2).
const PROTOCOL: &str = "bastide.bearer.";

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
    fn a_page_names_its_token_among_the_sub_protocols_of_a_websocket() {
        let websocket = [("connection", "Upgrade"), ("upgrade", "websocket")];
        let asked = |more: &[(&'static str, &'static str)]| {
            let pairs = more.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
            bearer(&pairs.collect()).map(str::to_owned)
        };
        let offered = ("sec-websocket-protocol", "bastide.v1, bastide.bearer.a.b-c_d");
        assert_eq!(asked(&[websocket[0], websocket[1], offered]).as_deref(), Some("a.b-c_d"));
        assert_eq!(asked(&[offered]), None, "elsewhere a token belongs into its header");
        let twice = ("sec-websocket-protocol", "bastide.bearer.a, bastide.bearer.b");
        assert_eq!(asked(&[websocket[0], websocket[1], twice]), None);
    }

    #[test]
    fn of_two_tokens_none_counts() {
        assert_eq!(of(&["Bearer abc", "Bearer abc"]), None);
    }
}
