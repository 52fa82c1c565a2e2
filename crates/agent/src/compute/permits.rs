//! How many instances are started at a time.

use std::sync::{Condvar, Mutex, PoisonError};

/// So many may; others wait.
#[derive(Debug)]
pub struct Permits {
    left: Mutex<usize>,
    freed: Condvar,
}

/// Held while one starts.
#[derive(Debug)]
pub struct Permit<'a>(&'a Permits);

impl Permits {
    /// For so many.
    pub fn new(most: usize) -> Self {
        Self { left: Mutex::new(most), freed: Condvar::new() }
    }

    /// Waits for its turn.
    pub fn take(&self) -> Permit<'_> {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = self.freed.wait_while(left, |left| *left == 0).unwrap_or_else(PoisonError::into_inner);
        *left -= 1;
        Permit(self)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *self.0.left.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}
