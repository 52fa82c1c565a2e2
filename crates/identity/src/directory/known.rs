//! Principals that were read before, good for as long as nothing about access changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use super::Standing;
use crate::principal::Principal;

/// What was read at one access epoch. Whatever changes a principal, its standing or its groups raises the epoch in the
/// same commit, so what is kept under the epoch of this moment is as good as what a read would bring.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<Epoch>);

#[derive(Debug, Default)]
struct Epoch {
    number: i64,
    principals: HashMap<Uuid, Arc<KnownPrincipal>>,
}

/// A principal, and whether it may sign in.
#[derive(Debug)]
pub(crate) struct KnownPrincipal {
    pub(crate) standing: Standing,
    pub(crate) principal: Principal,
}

impl Known {
    /// What is known of a principal at an epoch.
    pub(super) fn at(&self, epoch: i64, object_id: Uuid) -> Option<Arc<KnownPrincipal>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.number == epoch { kept.principals.get(&object_id).cloned() } else { None }
    }

    /// Keeps what was read after the epoch was.
    pub(super) fn keep(&self, epoch: i64, known: KnownPrincipal) -> Arc<KnownPrincipal> {
        let known = Arc::new(known);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.number < epoch || kept.principals.len() >= MOST {
            *kept = Epoch { number: epoch.max(kept.number), principals: HashMap::new() };
        }
        if kept.number == epoch {
            kept.principals.insert(known.principal.object_id, Arc::clone(&known));
        }
        known
    }
}

/// How many principals are kept. Beyond that all are read again.
const MOST: usize = 10_000;
