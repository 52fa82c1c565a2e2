//! How somebody who has signed in on the main origin gets into the origin of an instance.
//!
//! The instance's origin sets a cookie with a random number and sends the browser away to sign in. The page there hands out
//! a ticket, sealed to the instance, to that number, and to the next minute. Back at the instance's origin the ticket counts
//! once, and only in the browser with that number; it becomes a cookie of that one host. A ticket that leaks opens
//! nothing, and nobody can be signed in as somebody else unawares.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bastide_arm::error::ArmError;
use bastide_vault::SealContext;
use http::{HeaderMap, StatusCode, Uri, header};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use url::Url;
use url::form_urlencoded::{Serializer, parse};
use uuid::Uuid;

use super::visit::Standing;
use crate::failure::Failure;
use crate::front::Front;

/// What a browser asks for that was sent away to sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    /// The host name to come back to.
    pub(crate) site: String,
    /// The number that the browser has there.
    pub(crate) number: String,
    /// The page it wanted.
    pub(crate) path: String,
}

/// Who has signed in, and when.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Pass {
    pub(crate) object_id: Uuid,
    pub(crate) since: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
struct Ticket {
    pass: Pass,
    number: String,
    path: String,
}

/// The tickets that were used and could be used again, by their number.
#[derive(Debug, Default)]
pub(crate) struct Used(Mutex<HashMap<String, Timestamp>>);

impl Ask {
    /// As it stands in the query of the sign-in page.
    pub(crate) fn read(query: &str) -> Option<Self> {
        let pairs: HashMap<_, _> = parse(query.as_bytes()).into_owned().collect();
        let ask = Self {
            site: pairs.get("to")?.clone(),
            number: pairs.get("number")?.clone(),
            path: pairs.get("path")?.clone(),
        };
        let is_number = ask.number.len() == NUMBER && ask.number.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_number && is_path(&ask.path)).then_some(ask)
    }

    fn query(&self) -> String {
        let pairs = [("to", &self.site), ("number", &self.number), ("path", &self.path)];
        Serializer::new(String::new()).extend_pairs(pairs).finish()
    }
}

/// Sends a browser away to sign in.
pub(super) fn to_sign_in(front: &Front, asked: &str, uri: &Uri) -> Response {
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let path = if is_path(path) { path } else { "/" };
    let number = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let ask = Ask { site: asked.to_owned(), number: number.clone(), path: path.to_owned() };
    let location = format!("{}{DOOR}?{}", front.origins.public(), ask.query());
    let cookie = format!("{NUMBER_COOKIE}={number}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600");
    redirect(&location, &[cookie])
}

/// The address with a ticket, for somebody who has signed in.
pub(super) fn issue(front: &Front, instance: Uuid, pass: &Pass, ask: &Ask) -> Result<Url, ArmError> {
    let ticket = Ticket { pass: pass.clone(), number: ask.number.clone(), path: ask.path.clone() };
    let failed = || ArmError::service_unavailable("No ticket could be made. Try again.", 1);
    let sealed = seal(front, instance, TICKET, &ticket).ok_or_else(failed)?;
    let host = ask.site.split(':').next().unwrap_or_default();
    let port = front.origins.public().port_suffix();
    Url::parse(&format!("https://{host}{port}{ENTRANCE}?ticket={sealed}")).map_err(|_| failed())
}

/// Takes a ticket for a cookie.
pub(super) fn enter(front: &Front, instance: Uuid, headers: &HeaderMap, uri: &Uri) -> Result<Response, Failure> {
    let stale =
        || ArmError::new(403, "StaleTicket", "This way in is not good any more. Open the page again and sign in.");
    let query: HashMap<_, _> = parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let ticket: Option<Ticket> = query.get("ticket").and_then(|sealed| open(front, instance, TICKET, sealed));
    let ticket = ticket.ok_or_else(stale)?;
    let now = front.clock.now();
    let is_fresh = now.duration_since(ticket.pass.since) < TICKET_LIFE;
    if !is_fresh
        || cookie(headers, NUMBER_COOKIE) != Some(&*ticket.number)
        || !front.ways.used.first(&ticket.number, now)
    {
        return Err(stale().into());
    }
    let sealed =
        seal(front, instance, VISIT, &ticket.pass).ok_or_else(|| Failure::internal("a cookie was not sealed"))?;
    let visit =
        format!("{VISIT_COOKIE}={sealed}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={}", VISIT_LIFE.as_secs());
    let forget = format!("{NUMBER_COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0");
    Ok(redirect(&ticket.path, &[visit, forget]))
}

/// What a browser proves itself with at an instance it has entered.
pub(super) fn of_cookie(front: &Front, instance: Uuid, headers: &HeaderMap) -> Option<Standing> {
    let Pass { object_id, since } = open(front, instance, VISIT, cookie(headers, VISIT_COOKIE)?)?;
    let is_fresh = front.clock.now().duration_since(since) < VISIT_LIFE;
    is_fresh.then_some(Standing::SignedIn { object_id, since })
}

impl Used {
    /// Whether a number has not been used before.
    fn first(&self, number: &str, now: Timestamp) -> bool {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, at| now.duration_since(*at) < TICKET_LIFE * 2);
        used.insert(number.to_owned(), now).is_none()
    }
}

fn seal<T: Serialize>(front: &Front, instance: Uuid, field: &'static str, value: &T) -> Option<String> {
    let plain = serde_json::to_vec(value).ok()?;
    let sealed = front.sealer.seal(&SealContext { owner: instance, field }, &plain).ok()?;
    Some(URL_SAFE_NO_PAD.encode(sealed))
}

fn open<T: DeserializeOwned>(front: &Front, instance: Uuid, field: &'static str, sealed: &str) -> Option<T> {
    let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
    let plain = front.sealer.open_sealed(&SealContext { owner: instance, field }, &sealed).ok()?;
    serde_json::from_slice(&plain).ok()
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}

fn redirect(location: &str, cookies: &[String]) -> Response {
    let mut response = Response::builder().status(StatusCode::SEE_OTHER).header(header::LOCATION, location);
    for cookie in cookies {
        response = response.header(header::SET_COOKIE, cookie);
    }
    response = response.header(header::CACHE_CONTROL, "no-store").header(header::REFERRER_POLICY, "no-referrer");
    // A location that is no header value leads nowhere.
    response.body(Body::empty()).unwrap_or_default()
}

/// A path on the same origin: two slashes at its beginning would lead to another one.
fn is_path(path: &str) -> bool {
    path.starts_with('/') && !path.starts_with("//") && !path.contains(['\\', '\r', '\n'])
}

/// Where the page to sign in is, on the main origin.
pub(crate) const DOOR: &str = "/door";

/// Where tickets are taken, on an instance's origin.
pub(super) const ENTRANCE: &str = "/bastide/enter";

/// Hexadecimal digits.
const NUMBER: usize = 64;

const TICKET: &str = "door-ticket";
const VISIT: &str = "door-visit";
const NUMBER_COOKIE: &str = "__Host-bastide-door";
const VISIT_COOKIE: &str = "__Host-bastide-visit";

/// From the sign-in to the way back.
const TICKET_LIFE: SignedDuration = SignedDuration::from_mins(1);

/// A working day; then the password is asked for again.
const VISIT_LIFE: SignedDuration = SignedDuration::from_hours(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_asks_for_comes_back_as_it_was() {
        let ask = Ask {
            site: "ci-1-0a1b2c3d.instances.z:8443".to_owned(),
            number: "a".repeat(64),
            path: "/lab?x=1&y".to_owned(),
        };
        assert_eq!(Ask::read(&ask.query()), Some(ask.clone()));
        for path in ["//evil.example/", "https://evil.example", "/\\evil.example", ""] {
            assert_eq!(Ask::read(&Ask { path: path.to_owned(), ..ask.clone() }.query()), None, "{path}");
        }
        assert_eq!(Ask::read(&Ask { number: "1".to_owned(), ..ask }.query()), None);
        assert_eq!(Ask::read("to=x"), None);
    }

    #[test]
    fn a_number_counts_once() {
        let (used, now) = (Used::default(), Timestamp::UNIX_EPOCH);
        assert!(used.first("a", now));
        assert!(!used.first("a", now));
        assert!(used.first("b", now));
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let headers = HeaderMap::from_iter([(
            header::COOKIE,
            "x__Host-bastide-visit=no; __Host-bastide-visit=yes".parse().unwrap(),
        )]);
        assert_eq!(cookie(&headers, VISIT_COOKIE), Some("yes"));
        assert_eq!(cookie(&headers, NUMBER_COOKIE), None);
    }
}
