//! The scope in which expressions are evaluated.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::context::Context;
use crate::data::Data;
use crate::limits::Limits;
use crate::parameter::Bound;
use crate::template::Template;

/// The scope in which the expressions of one template are evaluated.
pub(crate) struct Frame {
    pub(crate) template: Arc<Template>,
    pub(crate) context: Context,
    pub(crate) parameters: HashMap<String, Bound>,
    pub(crate) limits: Limits,
    /// Variables and defaults evaluated so far. They see no live state, so they never change.
    computed: Mutex<HashMap<(Region, String), (Data, bool)>>,
}

/// Where an expression stands: not every function may be used everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Region {
    /// The default of a parameter; the only place for `newGuid` and `utcNow`.
    Default,
    Variable,
    /// Names, conditions, loop counts, scopes, `dependsOn`: all that shapes the plan.
    Shape,
    /// Bodies of resources, parameters of nested deployments, outputs: live state is allowed.
    Body,
    /// A user function.
    Function,
}

/// One turn of a loop.
#[derive(Debug, Clone)]
pub(crate) struct Iteration {
    pub(crate) name: Arc<str>,
    pub(crate) index: u32,
    /// Whether `copyIndex()` without a name means it: the loops of resources and outputs, not those of properties.
    pub(crate) nameless: bool,
}

/// Without parameters and computed values, which may be secret.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("template", &self.template.place).finish_non_exhaustive()
    }
}

impl Frame {
    pub(crate) fn new(
        template: Arc<Template>,
        context: Context,
        parameters: HashMap<String, Bound>,
        limits: Limits,
    ) -> Self {
        Self { template, context, parameters, limits, computed: Mutex::default() }
    }

    pub(crate) fn known(&self, region: Region, name: &str) -> Option<(Data, bool)> {
        let computed = self.computed.lock().unwrap_or_else(PoisonError::into_inner);
        computed.get(&(region, name.to_owned())).cloned()
    }

    pub(crate) fn remember(&self, region: Region, name: String, value: Data, secret: bool) {
        self.computed.lock().unwrap_or_else(PoisonError::into_inner).insert((region, name), (value, secret));
    }
}
