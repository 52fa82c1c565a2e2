//! Rules as they were stored, which anybody's parity admitted at the time.

use bastide_arm::resource_type::Parity;
use serde_json::{Map, Value};

use super::rule::Rule;

impl Rule {
    /// A rule as it was stored.
    pub fn stored(properties: &Map<String, Value>) -> Option<Self> {
        Self::read(properties, "", Parity::Native).ok()
    }
}
