//! The frame around every page people see, and the headers that keep it harmless.

use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use url::{Host, Url};

use super::html::Text;

/// A page: server-rendered, readable without scripts, with no style or script inside it.
pub(super) struct Page {
    status: StatusCode,
    title: &'static str,
    body: String,
    form_target: Option<String>,
    headers: HeaderMap,
    script: bool,
}

impl Page {
    /// A page with this title and body. The body is markup: see [`Text`].
    pub(super) fn new(title: &'static str, body: String) -> Self {
        Self { status: StatusCode::OK, title, body, form_target: None, headers: HeaderMap::new(), script: false }
    }

    /// The same page with another status.
    pub(super) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Adds a header, such as a cookie; a value that cannot be one is left out.
    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// Lets the page's form lead to this address. Browsers hold redirects after a form to the same rule.
    pub(super) fn leads_to(mut self, address: &Url) -> Self {
        self.form_target = Some(content_source(address));
        self
    }

    /// Lets the page submit its form by itself.
    pub(super) fn continues(mut self) -> Self {
        self.script = true;
        self
    }

    fn content_security_policy(&self) -> String {
        let script = if self.script { "script-src 'self'; " } else { "" };
        let target = self.form_target.as_deref().map(|target| format!(" {target}")).unwrap_or_default();
        format!(
            "default-src 'none'; style-src 'self'; {script}form-action 'self'{target}; frame-ancestors 'none'; base-uri 'none'"
        )
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let script = if self.script { "<script src=\"/login/continue.js\" defer></script>\n" } else { "" };
        let document = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"robots\" content=\"noindex\">\n\
             <title>{} - Bastide</title>\n<link rel=\"stylesheet\" href=\"/login/style.css\">\n{script}</head>\n<body>\n<main>\n\
             <div class=\"brand\">{EMBLEM}<span>Bastide</span></div>\n{}</main>\n</body>\n</html>\n",
            Text(self.title),
            self.body
        );
        let policy = self.content_security_policy();
        let mut response = (self.status, self.headers, Html(document)).into_response();
        let headers = response.headers_mut();
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        for (name, value) in FIXED_HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// An address as a Content-Security-Policy source: its origin, which is exact. IPv6 literals cannot be written there, so
/// those get by with their scheme.
fn content_source(address: &Url) -> String {
    match address.host() {
        Some(Host::Ipv6(_)) | None => format!("{}:", address.scheme()),
        Some(_) => address.origin().ascii_serialization(),
    }
}

/// A gate between two towers.
const EMBLEM: &str = "<svg viewBox=\"0 0 32 32\" aria-hidden=\"true\" focusable=\"false\">\
    <path fill=\"currentColor\" d=\"M2 6h3v3h2V6h3v3h2v4h8V9h2V6h3v3h2V6h3v21h-9v-6a5 5 0 0 0-10 0v6H2z\"/></svg>";

const FIXED_HEADERS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // With `no-referrer` browsers would send our own forms with `Origin: null`, which we refuse.
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(page: Page) -> String {
        let response = page.into_response();
        response.headers()["content-security-policy"].to_str().unwrap().to_owned()
    }

    #[test]
    fn a_page_runs_nothing_and_leads_nowhere_else() {
        let plain = policy(Page::new("Title", String::new()));
        assert_eq!(
            plain,
            "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        );
    }

    #[test]
    fn a_form_may_lead_to_the_clients_address_and_only_there() {
        let address = Url::parse("http://localhost:8400/after?x=1").unwrap();
        let policy = policy(Page::new("Title", String::new()).leads_to(&address).continues());
        assert!(policy.contains("form-action 'self' http://localhost:8400;"), "{policy}");
        assert!(policy.contains("script-src 'self';"), "{policy}");
    }

    #[test]
    fn an_address_cannot_add_to_the_policy() {
        let address = Url::parse("http://a.example/;script-src *").unwrap();
        assert_eq!(content_source(&address), "http://a.example");
        assert_eq!(content_source(&Url::parse("http://[::1]:8400/").unwrap()), "http:");
    }
}
