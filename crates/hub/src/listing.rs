//! Collections that a resource implies: they are listed, and have no rows of their own.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{Admission, Admitted, Descriptor, Linked, ResourceType, View};
use serde_json::{Map, Value};

/// A collection that its parent implies.
#[derive(Debug)]
pub struct Listing {
    descriptor: Descriptor,
    of: fn(&Linked) -> Vec<Value>,
}

impl Listing {
    /// The collection of a type, and what is in it for a parent.
    pub const fn new(
        namespace: &'static str,
        types: &'static [&'static str],
        api_versions: &'static [&'static str],
        of: fn(&Linked) -> Vec<Value>,
    ) -> Self {
        Self { descriptor: Descriptor::stored(namespace, types, api_versions), of }
    }
}

impl ResourceType for Listing {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let message = format!("'{}' is not made by clients; list the collection instead.", admission.id.type_name());
        Err(ArmError::new(405, "MethodNotAllowed", message))
    }

    fn answer(&self, _view: &View<'_>) -> Map<String, Value> {
        Map::new()
    }

    fn implied(&self, parent: &Linked) -> Option<Vec<Value>> {
        Some((self.of)(parent))
    }
}
