//! What stands for a person between two pages of one form.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bastide_identity::Principal;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::csrf::CsrfToken;

/// The open tickets of this process. They last minutes; a restart, or another replica, asks for the password again.
#[derive(Default)]
pub(super) struct Tickets(Mutex<HashMap<String, Ticket>>);

/// Who has signed in to decide about which code.
pub(super) struct Ticket {
    /// The person.
    pub(super) user: Principal,
    /// The code on the device.
    pub(super) user_code: String,
    browser: CsrfToken,
    ends: Timestamp,
}

impl Tickets {
    /// A ticket that works once, soon, and in the browser it was made for.
    pub(super) fn issue(&self, user: Principal, user_code: &str, browser: &CsrfToken, now: Timestamp) -> String {
        let name = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let ends = now.checked_add(LIFETIME).unwrap_or(Timestamp::MAX);
        let ticket = Ticket { user, user_code: user_code.to_owned(), browser: browser.clone(), ends };
        let mut open = self.open();
        if open.len() >= CAPACITY {
            open.retain(|_, ticket| ticket.ends > now);
        }
        if open.len() >= CAPACITY {
            let oldest = open.iter().min_by_key(|(_, ticket)| ticket.ends).map(|(name, _)| name.clone());
            oldest.and_then(|name| open.remove(&name));
        }
        open.insert(name.clone(), ticket);
        name
    }

    /// Takes a ticket back, if it is good.
    pub(super) fn redeem(&self, name: &str, browser: &CsrfToken, now: Timestamp) -> Option<Ticket> {
        self.open().remove(name).filter(|ticket| ticket.ends > now && ticket.browser == *browser)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, Ticket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const LIFETIME: SignedDuration = SignedDuration::from_mins(5);
/// Only people with a right password get one, so this is generous.
const CAPACITY: usize = 1000;

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use bastide_identity::PrincipalKind;

    use super::*;

    fn user() -> Principal {
        let (object_id, tenant_id) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let name = "ada@bastide.localhost".to_owned();
        Principal { object_id, tenant_id, kind: PrincipalKind::User, name, app_id: None, groups: Vec::new() }
    }

    #[test]
    fn a_ticket_works_once_soon_and_in_its_browser() {
        let (tickets, now) = (Tickets::default(), Timestamp::UNIX_EPOCH);
        let (browser, other) = (CsrfToken::of(&HeaderMap::new()), CsrfToken::of(&HeaderMap::new()));
        let ticket = tickets.issue(user(), "ABC", &browser, now);
        assert_eq!(tickets.redeem(&ticket, &browser, now).unwrap().user_code, "ABC");
        assert!(tickets.redeem(&ticket, &browser, now).is_none());
        let ticket = tickets.issue(user(), "ABC", &browser, now);
        assert!(tickets.redeem(&ticket, &other, now).is_none());
        let ticket = tickets.issue(user(), "ABC", &browser, now);
        assert!(tickets.redeem(&ticket, &browser, now + LIFETIME).is_none());
    }

    #[test]
    fn tickets_nobody_uses_are_forgotten() {
        let (tickets, browser) = (Tickets::default(), CsrfToken::of(&HeaderMap::new()));
        for millisecond in 0..2500 {
            let now = Timestamp::UNIX_EPOCH + SignedDuration::from_millis(millisecond);
            tickets.issue(user(), "ABC", &browser, now);
        }
        assert_eq!(tickets.open().len(), CAPACITY);
    }
}
