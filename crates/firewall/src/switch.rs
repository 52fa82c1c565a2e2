//! Ends a connection from outside the task that carries it.

use std::cell::RefCell;

use tokio::sync::Notify;

/// Thrown once; whoever carries the connection waits for it beside its work. Of one thread.
#[derive(Debug, Default)]
pub struct Switch {
    reason: RefCell<Option<String>>,
    thrown: Notify,
}

impl Switch {
    /// Ends the connection. The first reason stays.
    pub fn throw(&self, reason: String) {
        self.reason.borrow_mut().get_or_insert(reason);
        self.thrown.notify_one();
    }

    /// Whether it has been thrown.
    pub fn is_thrown(&self) -> bool {
        self.reason.borrow().is_some()
    }

    /// Why it was thrown, if it was.
    pub fn reason(&self) -> Option<String> {
        self.reason.borrow().clone()
    }

    /// Waits until it is thrown, and says why.
    pub async fn wait(&self) -> String {
        loop {
            if let Some(reason) = self.reason() {
                return reason;
            }
            self.thrown.notified().await;
        }
    }
}
