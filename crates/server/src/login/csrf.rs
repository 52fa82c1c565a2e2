//! Proof that a form came from our own page.
//!
//! A random value sits in a `__Host-` cookie, which neither another host nor plain http can set, and again in the form. A
//! page on another port of the same host can read cookies, so the browser's own word about where the post came from
//! (`Origin`, `Sec-Fetch-Site`) must agree as well.

use axum::http::header::{COOKIE, ORIGIN};
use axum::http::{HeaderMap, HeaderName};
use uuid::Uuid;

use crate::origin::Origins;

/// The value a page's form must bring back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CsrfToken(String);

impl CsrfToken {
    /// The browser's token, or a new one. One token a browser, so that two open pages do not invalidate each other.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        cookie(headers).unwrap_or_else(|| Self(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())))
    }

    /// True if a form that brought `sent` was posted from a page of ours.
    pub(super) fn vouches(headers: &HeaderMap, sent: Option<&str>, origins: &Origins) -> bool {
        let Some(Self(expected)) = cookie(headers) else { return false };
        same_site(headers, origins) && sent.is_some_and(|sent| equal(sent.as_bytes(), expected.as_bytes()))
    }

    /// For the hidden field. Hexadecimal, needs no escaping.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The value of a `Set-Cookie` header. It lives as long as the browser.
    pub(super) fn set_cookie(&self) -> String {
        // Lax: the page is reached from other sites by design, and must find the cookie it set before.
        format!("{COOKIE_NAME}={}; Path=/; Secure; HttpOnly; SameSite=Lax", self.0)
    }
}

fn cookie(headers: &HeaderMap) -> Option<CsrfToken> {
    let pairs =
        headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    let value = pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(name, _)| *name == COOKIE_NAME)?.1;
    let genuine = value.len() == TOKEN_LENGTH && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    genuine.then(|| CsrfToken(value.to_owned()))
}

fn same_site(headers: &HeaderMap, origins: &Origins) -> bool {
    let ours = headers.get(ORIGIN).is_none_or(|sent| origins.all().any(|origin| sent == origin.as_str()));
    ours && headers.get(SEC_FETCH_SITE).is_none_or(|site| site == "same-origin")
}

/// Equality in time that depends on the length alone.
fn equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

const COOKIE_NAME: &str = "__Host-bastide-form";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const TOKEN_LENGTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Origin;

    fn origins() -> Origins {
        Origins::new(Origin::parse("https://localhost:8443").unwrap(), Vec::new(), "zone")
    }

    fn with_cookie(token: &CsrfToken) -> HeaderMap {
        let value = format!("other=1; {COOKIE_NAME}={}", token.as_str());
        HeaderMap::from_iter([(COOKIE, value.parse().unwrap())])
    }

    #[test]
    fn a_form_from_our_page_passes() {
        let token = CsrfToken::of(&HeaderMap::new());
        let mut headers = with_cookie(&token);
        assert!(CsrfToken::vouches(&headers, Some(token.as_str()), &origins()), "old browsers send no Origin");
        headers.insert(ORIGIN, "https://localhost:8443".parse().unwrap());
        headers.insert(SEC_FETCH_SITE, "same-origin".parse().unwrap());
        assert!(CsrfToken::vouches(&headers, Some(token.as_str()), &origins()));
        assert_eq!(CsrfToken::of(&headers), token, "a second page keeps the first one's token");
    }

    #[test]
    fn a_form_from_elsewhere_does_not() {
        let (token, other) = (CsrfToken::of(&HeaderMap::new()), CsrfToken::of(&HeaderMap::new()));
        let good = with_cookie(&token);
        assert!(!CsrfToken::vouches(&good, None, &origins()));
        assert!(!CsrfToken::vouches(&good, Some(other.as_str()), &origins()));
        assert!(!CsrfToken::vouches(&HeaderMap::new(), Some(token.as_str()), &origins()));
        for (name, value) in [(ORIGIN, "http://localhost:8400"), (ORIGIN, "null"), (SEC_FETCH_SITE, "same-site")] {
            let mut headers = good.clone();
            headers.insert(name, value.parse().unwrap());
            assert!(!CsrfToken::vouches(&headers, Some(token.as_str()), &origins()), "{value}");
        }
    }

    #[test]
    fn a_cookie_somebody_shortened_is_replaced() {
        let headers = HeaderMap::from_iter([(COOKIE, format!("{COOKIE_NAME}=").parse().unwrap())]);
        assert_eq!(CsrfToken::of(&headers).as_str().len(), TOKEN_LENGTH);
        assert!(!CsrfToken::vouches(&headers, Some(""), &origins()));
    }
}
