//! POST of `testconnection`: an operation that ends at once and says the truth, that the server tries nothing.

use bastide_arm::error::ArmError;
use bastide_store::{Change, Operation};
use serde_json::json;
use uuid::Uuid;

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::{Entries, Entry};
use crate::operations::accepted;
use crate::pass::Pass;
use crate::reply::Reply;
use crate::request::Request;

/// The action, in the spelling of its clients.
pub(crate) const TEST_CONNECTION: &str = "testconnection";

impl Front {
    /// The server opens no connection to what a body names: that would lead anybody with a connection to any address it
    /// can reach. A connection is tried where it is used, on a compute, behind the wall of the hub.
    pub(crate) async fn test_connection(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        entry: &Entry,
    ) -> Result<Reply, Failure> {
        let message = format!(
            "Connection '{}' was not tried: the server makes no connections to the targets of connections. Try it from a \
             compute of the hub, whose network decides whether the target is reached.",
            entry.id.name()
        );
        let error = ArmError::new(409, "ConnectionNotTested", message);
        let operation = Operation {
            id: Uuid::new_v4(),
            kind: "TestConnection".to_owned(),
            scope: entry.row.key.clone(),
            status: "Failed".to_owned(),
            principal: pass.principal().object_id.to_string(),
            body: json!({"error": error.to_error_value()}),
            created: request.context.now,
            changed: request.context.now,
        };
        let id = operation.id;
        let entries = Entries { expect: vec![entry.stands()], changes: vec![Change::PutOperation(operation)] };
        self.ledger.commit(request.context, pass, entries).await?;
        Ok(accepted(request, &entry.id, id))
    }
}
