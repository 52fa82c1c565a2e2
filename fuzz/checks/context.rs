//! The least of a context that a template can be planned in; shared by the fuzz target and the benchmark.

use std::collections::BTreeMap;

use bastide_template::{Context, Deployment, Mode, ResourceGroup, Subscription};
use serde_json::{Map, json};
use uuid::Uuid;

/// A group of a subscription, nothing in it, at the beginning of time.
pub fn context() -> Context {
    Context {
        tenant_id: Uuid::nil().to_string(),
        subscription: Some(Subscription { id: Uuid::nil().to_string(), display_name: "nobody's".to_owned() }),
        group: Some(ResourceGroup {
            name: "rg".to_owned(),
            location: Some("local".to_owned()),
            tags: json!({}),
            managed_by: None,
        }),
        management_group: None,
        deployment: Deployment { name: "d".to_owned(), location: None, mode: Mode::Incremental, template_uri: None },
        deployer: json!({}),
        environment: json!({"name": "AzureCloud"}),
        providers: Map::new(),
        roles: BTreeMap::new(),
        now: jiff::Timestamp::UNIX_EPOCH,
        seed: Uuid::nil(),
    }
}
