//! What a request is known by: its ids, its origin, its api-version.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use jiff::Timestamp;
use uuid::Uuid;

use crate::origin::{Origin, Origins, host};

/// The facts of one request that every step may need. Nothing in it is secret.
#[derive(Debug, Clone)]
pub struct Context {
    /// `x-ms-request-id`: ours, new for each request.
    pub request_id: Uuid,
    /// `x-ms-correlation-request-id`: the client's when it sent a readable one, else ours.
    pub correlation_id: Uuid,
    /// `x-ms-client-request-id`, echoed.
    pub client_request_id: Option<HeaderValue>,
    /// When the request arrived.
    pub now: Timestamp,
    /// The peer's address. Behind a proxy all requests share one.
    pub client_ip: Option<IpAddr>,
    /// The configured origin it was sent to.
    pub origin: Origin,
    /// The method.
    pub method: Method,
    /// Path and query as sent, never with a scheme or a host.
    pub uri: Uri,
}

impl Context {
    /// Reads the facts off a request head.
    pub fn read(method: &Method, uri: &Uri, headers: &HeaderMap, origins: &Origins, now: Timestamp) -> Self {
        Self {
            request_id: Uuid::new_v4(),
            correlation_id: text(headers, "x-ms-correlation-request-id")
                .and_then(|id| id.parse().ok())
                .unwrap_or_else(Uuid::new_v4),
            client_request_id: headers.get("x-ms-client-request-id").filter(|id| is_echoable(id)).cloned(),
            now,
            client_ip: None,
            origin: origins.asked(host(headers, uri)).clone(),
            method: method.clone(),
            uri: origin_form(uri),
        }
    }

    /// The same request, from a peer.
    pub fn with_peer(self, peer: Option<IpAddr>) -> Self {
        Self { client_ip: peer, ..self }
    }

    /// The context of a step of this request: another method and URL under the same correlation id.
    pub fn step(&self, method: Method, uri: Uri, now: Timestamp) -> Self {
        Self { request_id: Uuid::new_v4(), client_request_id: None, now, method, uri, ..self.clone() }
    }

    /// Puts the request's ids on an answer.
    pub fn stamp(&self, headers: &mut HeaderMap) {
        let ids = [
            (X_MS_REQUEST_ID, self.request_id.to_string()),
            (X_MS_CORRELATION_REQUEST_ID, self.correlation_id.to_string()),
            (X_MS_ROUTING_REQUEST_ID, format!("BASTIDE:{}:{}", self.now.strftime("%Y%m%dT%H%M%SZ"), self.request_id)),
        ];
        for (name, value) in ids {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        if let Some(id) = &self.client_request_id {
            headers.insert(X_MS_CLIENT_REQUEST_ID, id.clone());
        }
    }

    /// The query's pairs, decoded, in order.
    pub fn query(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(self.uri.query().unwrap_or_default().as_bytes()).into_owned().collect()
    }

    /// The value of a query parameter; names are matched without regard to case, as ARM does.
    pub fn query_value(&self, name: &str) -> Option<String> {
        self.query().into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// HTTP/2 requests, and HTTP/1.1 requests in absolute form, name the host in their target; it must not get into URLs that
/// are built from it.
fn origin_form(uri: &Uri) -> Uri {
    uri.path_and_query().cloned().map(Uri::from).unwrap_or_default()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// An echoed id is short and plainly printable, so that it can neither split a header nor fill a log.
fn is_echoable(value: &HeaderValue) -> bool {
    value.len() <= 128 && value.as_bytes().iter().all(u8::is_ascii_graphic)
}

const X_MS_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
const X_MS_CORRELATION_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-correlation-request-id");
const X_MS_ROUTING_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-routing-request-id");
const X_MS_CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&'static str, &str)]) -> Context {
        let origins = Origins::new(Origin::parse("https://localhost:1").unwrap(), Vec::new(), "zone");
        let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let uri = "/subscriptions?API-Version=2022-12-01&%24top=3&x=a+b".parse().unwrap();
        Context::read(&Method::GET, &uri, &headers.collect(), &origins, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn echoes_the_clients_ids() {
        let correlation = "0f8fad5b-d9cb-469f-a165-70867728950e";
        let context = read(&[("x-ms-client-request-id", "abc-1"), ("x-ms-correlation-request-id", correlation)]);
        let mut headers = HeaderMap::new();
        context.stamp(&mut headers);
        assert_eq!(headers["x-ms-client-request-id"], "abc-1");
        assert_eq!(headers["x-ms-correlation-request-id"], correlation);
        assert_eq!(headers["x-ms-request-id"], context.request_id.to_string().as_str());
    }

    #[test]
    fn does_not_echo_what_is_long_or_unprintable() {
        for id in ["a b".to_owned(), "x".repeat(129)] {
            assert_eq!(read(&[("x-ms-client-request-id", &id)]).client_request_id, None);
        }
    }

    #[test]
    fn a_host_in_the_target_stays_out_of_urls() {
        let origins = Origins::new(Origin::parse("https://localhost:1").unwrap(), Vec::new(), "zone");
        let uri = "https://evil.example/subscriptions?x=1".parse().unwrap();
        let context = Context::read(&Method::GET, &uri, &HeaderMap::new(), &origins, Timestamp::UNIX_EPOCH);
        assert_eq!(context.uri, "/subscriptions?x=1");
        assert_eq!(context.origin.as_str(), "https://localhost:1");
    }

    #[test]
    fn query_names_have_no_case_and_values_are_decoded() {
        let context = read(&[]);
        assert_eq!(context.query_value("api-version").as_deref(), Some("2022-12-01"));
        assert_eq!(context.query_value("$TOP").as_deref(), Some("3"));
        assert_eq!(context.query_value("x").as_deref(), Some("a b"));
        assert_eq!(context.query_value("y"), None);
    }
}
