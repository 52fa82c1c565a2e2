//! `{target}/privateEndpointConnections`: who of the hubs is let in by a resource, asked by the planner and shown to
//! whoever decides about it (mission.md K5-K13).

use std::sync::Arc;

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::Linked;
use bastide_hub::private_endpoint_connection::{Endpoint, Standing, Status, approval, connection_id, identity_of};
use bastide_identity::Directory;
use bastide_store::{Change, Store};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::{Entries, Entry};
use crate::list::paged;
use crate::pass::{Gatekeeper, Identified, Pass};
use crate::reply::Reply;
use crate::request::Request;

/// Tells whether targets let private endpoints in.
#[derive(Clone)]
pub(crate) struct Approvals {
    pub(crate) store: Store,
    pub(crate) gatekeeper: Arc<Gatekeeper>,
    pub(crate) directory: Directory,
}

/// What somebody has decided about a connection, as kept.
#[derive(Serialize, Deserialize)]
struct Decision {
    /// The incarnation of the target that it was decided for; none in what an earlier version has kept.
    #[serde(default)]
    target: Option<Uuid>,
    #[serde(flatten)]
    standing: Standing,
}

/// A private endpoint as its target sees it.
struct Connection {
    id: ResourceId,
    /// The target's incarnation.
    target: Uuid,
    rule: Linked,
    endpoint: Endpoint,
    standing: Standing,
}

impl Approvals {
    /// Whether the target of a rule lets it in: as somebody has decided, else by the rights of the hub's identity at this
    /// moment. `there` is the target's incarnation, if it exists: what was decided about one that has gone says nothing of
    /// another one with its name.
    pub(crate) async fn standing(
        &self,
        hub: &Linked,
        rule: &Linked,
        endpoint: &Endpoint,
        there: Option<Uuid>,
        now: Timestamp,
    ) -> Result<Standing, Failure> {
        if let Some(record) = self.store.record(DECISION, &rule.incarnation.to_string(), now).await? {
            let unreadable = |error: serde_json::Error| Failure::internal(format!("a decision: {error}"));
            let Decision { target, standing } = serde_json::from_value(record.body).map_err(unreadable)?;
            if there.is_some_and(|there| target.is_none_or(|target| target == there)) {
                return Ok(standing);
            }
        }
        if let Some(standing) = endpoint.undisputed(&hub.id) {
            return Ok(standing);
        }
        let target = endpoint.destination.resource();
        let Some(id) = connection_id(&target, rule).filter(|_| there.is_some()) else {
            return Ok(Standing::of_nothing(&target));
        };
        Ok(Standing::by_rights(self.may_approve(hub, &target).await?, &hub.id, &id))
    }

    async fn may_approve(&self, hub: &Linked, target: &ResourceId) -> Result<bool, Failure> {
        let Some(identity) = identity_of(hub) else { return Ok(false) };
        // Before the principal is looked up: what is known of it must not be older than its rights.
        let epoch = self.gatekeeper.epoch().await?;
        let Some(object) = self.directory.object(identity.principal_id).await? else { return Ok(false) };
        let principal = self.directory.principal(&object).await?;
        self.gatekeeper.may(&Identified { principal, epoch }, &approval(target), target).await
    }
}

impl Front {
    /// GET of the private endpoints that lead to a resource.
    pub(crate) async fn list_connections(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let target = &request.matched.target;
        if self.ledger.resource(pass, target).await?.is_none() {
            return Err(ArmError::resource_not_found(target).into());
        }
        let found = self.connections(target, request.context.now).await?;
        Ok(paged(request, found.iter().map(Connection::answer).collect(), None))
    }

    /// GET of one.
    pub(crate) async fn read_connection(&self, request: &Request<'_>, _pass: &Pass) -> Result<Reply, Failure> {
        Ok(Reply::ok(self.connection(request).await?.answer()))
    }

    /// PUT of a decision: the network of the hub follows before it is answered.
    pub(crate) async fn decide_connection(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let mut connection = self.connection(request).await?;
        let nothing = Map::new();
        let properties = request.object()?.get("properties").and_then(Value::as_object).unwrap_or(&nothing);
        let decided = Standing::read(properties)?;
        if decided != connection.standing {
            self.note_decision(request, pass, &connection, &decided).await?;
            connection.standing = decided;
        }
        Ok(Reply::ok(connection.answer()))
    }

    /// DELETE: the target takes back what it let in.
    pub(crate) async fn disconnect(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let connection = match self.connection(request).await {
            Ok(connection) => connection,
            Err(Failure::Refused(error)) if error.status == 404 => return Ok(Reply::empty(StatusCode::NO_CONTENT)),
            Err(failure) => return Err(failure),
        };
        let description = format!("'{}' has removed the connection.", pass.principal().name);
        let gone = Standing { status: Status::Disconnected, description };
        self.note_decision(request, pass, &connection, &gone).await?;
        Ok(Reply::empty(StatusCode::OK))
    }

    /// The private endpoints of a resource, as its own answer lists them.
    pub(crate) async fn connection_answers(&self, target: &ResourceId, now: Timestamp) -> Result<Vec<Value>, Failure> {
        Ok(self.connections(target, now).await?.iter().map(Connection::answer).collect())
    }

    async fn note_decision(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        connection: &Connection,
        decided: &Standing,
    ) -> Result<(), Failure> {
        let decision = Decision { target: Some(connection.target), standing: decided.clone() };
        let body = serde_json::to_value(decision).map_err(|error| Failure::internal(error.to_string()))?;
        let put = Change::PutRecord {
            kind: DECISION.to_owned(),
            key: connection.rule.incarnation.to_string(),
            owner: Some(connection.endpoint.destination.resource().key().to_owned()),
            body,
            expires: None,
        };
        self.ledger.commit(request.context, pass, Entries { expect: Vec::new(), changes: vec![put] }).await?;
        self.networks.touch(&connection.rule.id);
        self.networks.settle(&connection.rule.id).await;
        Ok(())
    }

    async fn connection(&self, request: &Request<'_>) -> Result<Connection, Failure> {
        let id = &request.matched.target;
        let target = id.parent().ok_or_else(|| ArmError::resource_not_found(id))?;
        let found = self.connections(&target, request.context.now).await?;
        let wanted = found.into_iter().find(|connection| connection.id == *id);
        wanted.ok_or_else(|| ArmError::resource_not_found(id).into())
    }

    async fn connections(&self, target: &ResourceId, now: Timestamp) -> Result<Vec<Connection>, Failure> {
        let mut found = Vec::new();
        let Some(there) = self.ledger.store().resource(target.key()).await? else { return Ok(found) };
        for rule in self.referrers(now, target).await?.iter().map(Entry::linked) {
            let Some(endpoint) = Endpoint::of(&rule) else { continue };
            let (Some(id), Some(hub)) = (connection_id(target, &rule), rule.id.parent()) else { continue };
            // A hub needs nobody's leave to reach itself.
            if hub == *target {
                continue;
            }
            let Some(hub) = self.ledger.store().resource(hub.key()).await? else { continue };
            let hub = Entry::read(hub)?.linked();
            let standing = self.approvals().standing(&hub, &rule, &endpoint, Some(there.incarnation), now).await?;
            found.push(Connection { id, target: there.incarnation, rule, endpoint, standing });
        }
        found.sort_by(|one, other| one.id.key().cmp(other.id.key()));
        Ok(found)
    }

    fn approvals(&self) -> Approvals {
        Approvals {
            store: self.ledger.store().clone(),
            gatekeeper: Arc::clone(&self.gatekeeper),
            directory: self.identity.directory().clone(),
        }
    }
}

impl Connection {
    fn answer(&self) -> Value {
        self.standing.answer(&self.id, &self.rule.id, &self.endpoint.destination.subresource)
    }
}

/// The end of what was decided about a rule that goes.
pub(crate) fn forget_decision(rule: &Entry) -> Change {
    Change::DeleteRecord { kind: DECISION.to_owned(), key: rule.row.incarnation.to_string() }
}

/// Kind of the records that hold decisions, by the incarnation of the rule.
const DECISION: &str = "private-endpoint-decision";
