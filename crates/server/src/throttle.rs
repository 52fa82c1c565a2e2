//! How fast one principal may ask: token buckets per principal and kind of request.
//!
//! The numbers are a fuse against runaway loops, not a quota: ARM clients expect `x-ms-ratelimit-remaining-*` on answers
//! and `429` with `Retry-After` when it blows.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::Method;
use jiff::Timestamp;
use uuid::Uuid;

/// The buckets of all principals.
#[derive(Debug, Default)]
pub struct Throttle {
    buckets: Mutex<HashMap<(Uuid, Class), Bucket>>,
}

/// What kind of request a bucket counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// GET and HEAD.
    Reads,
    /// PUT, PATCH and POST.
    Writes,
    /// DELETE.
    Deletes,
}

/// Too many requests; try again after that many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttled {
    /// Whole seconds until one request fits again.
    pub retry_after: u32,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    filled: Timestamp,
}

impl Throttle {
    /// Takes one request out of the principal's bucket and says how many are left.
    pub fn take(&self, principal: Uuid, class: Class, now: Timestamp) -> Result<u32, Throttled> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS {
            // Full buckets say nothing that a missing one does not.
            buckets.retain(|(_, class), bucket| bucket.filled_up(*class, now) < class.capacity());
        }
        let bucket = buckets.entry((principal, class)).or_insert(Bucket { tokens: class.capacity(), filled: now });
        bucket.tokens = bucket.filled_up(class, now);
        bucket.filled = bucket.filled.max(now);
        if bucket.tokens < 1.0 {
            let seconds = ((1.0 - bucket.tokens) / class.per_second()).ceil().max(1.0);
            return Err(Throttled { retry_after: whole(seconds) });
        }
        bucket.tokens -= 1.0;
        Ok(whole(bucket.tokens))
    }

    /// How many requests are left in the principal's bucket.
    pub fn left(&self, principal: Uuid, class: Class, now: Timestamp) -> u32 {
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.get(&(principal, class));
        whole(bucket.map_or_else(|| class.capacity(), |bucket| bucket.filled_up(class, now)))
    }
}

impl Class {
    /// The class of a method.
    pub fn of(method: &Method) -> Self {
        match *method {
            Method::GET | Method::HEAD => Self::Reads,
            Method::DELETE => Self::Deletes,
            _ => Self::Writes,
        }
    }

    /// The header that carries what is left.
    pub fn header(self) -> &'static str {
        match self {
            Self::Reads => "x-ms-ratelimit-remaining-subscription-reads",
            Self::Writes => "x-ms-ratelimit-remaining-subscription-writes",
            Self::Deletes => "x-ms-ratelimit-remaining-subscription-deletes",
        }
    }

    fn capacity(self) -> f64 {
        match self {
            Self::Reads => 200_000.0,
            Self::Writes | Self::Deletes => 100_000.0,
        }
    }

    fn per_second(self) -> f64 {
        match self {
            Self::Reads => 20_000.0,
            Self::Writes | Self::Deletes => 10_000.0,
        }
    }
}

impl Bucket {
    fn filled_up(&self, class: Class, now: Timestamp) -> f64 {
        let elapsed = now.duration_since(self.filled).as_secs_f64().max(0.0);
        (self.tokens + elapsed * class.per_second()).min(class.capacity())
    }
}

/// Buckets are bounded by this many numbers, so the cast below cannot wrap.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 200,000")]
fn whole(number: f64) -> u32 {
    number.clamp(0.0, 1_000_000.0) as u32
}

/// Bounds memory against many principals.
const MAX_BUCKETS: usize = 10_000;

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_runaway_loop_is_refused_and_recovers() {
        let throttle = Throttle::default();
        let (principal, start) = (Uuid::from_u128(1), Timestamp::UNIX_EPOCH);
        for left in (0..100_000).rev() {
            assert_eq!(throttle.take(principal, Class::Writes, start), Ok(left));
        }
        assert_eq!(throttle.take(principal, Class::Writes, start), Err(Throttled { retry_after: 1 }));
        assert!(throttle.take(principal, Class::Reads, start).is_ok(), "each class has its own bucket");
        assert!(throttle.take(Uuid::from_u128(2), Class::Writes, start).is_ok(), "each principal has its own bucket");
        let later = start + SignedDuration::from_secs(2);
        assert_eq!(throttle.take(principal, Class::Writes, later), Ok(19_999));
    }

    #[test]
    fn a_clock_that_jumps_back_gives_nothing_away() {
        let throttle = Throttle::default();
        let principal = Uuid::from_u128(1);
        let left = throttle.take(principal, Class::Reads, Timestamp::UNIX_EPOCH).unwrap();
        let earlier = Timestamp::UNIX_EPOCH - SignedDuration::from_hours(1);
        assert_eq!(throttle.take(principal, Class::Reads, earlier), Ok(left - 1));
    }
}
