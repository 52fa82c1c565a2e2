//! What policies look at.

use jiff::Timestamp;
use serde_json::Value;

/// A resource that is asked for, or that stands, with what a rule may want to know around it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its id in lower case.
    pub key: &'a str,
    /// Its wire form: `id`, `name`, `type`, `location`, `tags`, `properties` and so on.
    pub resource: &'a Value,
    /// Whether its type has tags and a location: rules of mode `Indexed` look at no others.
    pub is_indexed: bool,
    /// What else it belongs to, as an id in lower case: the hub of a project, and of what is in the project.
    pub under: Option<&'a str>,
    /// Its resource group, as `resourceGroup()` answers it.
    pub group: Option<&'a Value>,
    /// Its subscription, as `subscription()` answers it.
    pub subscription: Option<&'a Value>,
    /// The api-version of the request.
    pub api_version: &'a str,
    /// The claims of whoever asks.
    pub caller: &'a Value,
    /// The time of the evaluation.
    pub now: Timestamp,
}
