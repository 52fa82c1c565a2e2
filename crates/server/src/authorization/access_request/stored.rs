//! An access request as it is stored, read from a body, and answered.

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_identity::{Principal, PrincipalKind};
use bastide_store::{Change, Expectation, Record};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::failure::Failure;

/// Somebody's wish for a role at a scope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct AccessRequest {
    pub(super) name: Uuid,
    pub(super) scope: String,
    pub(super) principal_id: Uuid,
    pub(super) is_service_principal: bool,
    pub(super) role_definition_id: Uuid,
    pub(super) justification: String,
    status: Status,
    created_on: Timestamp,
    expires_on: Timestamp,
    pub(super) decided_by: Option<Uuid>,
    decided_on: Option<Timestamp>,
    reason: Option<String>,
}

/// What has become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Status {
    Pending,
    Approved,
    Denied,
    /// Nobody decided in time.
    Expired,
}

/// One that was read, and what must hold for a write that changes it.
pub(super) struct Standing {
    pub(super) request: AccessRequest,
    pub(super) unchanged: Expectation,
}

impl Standing {
    pub(super) fn read(record: Record) -> Result<Self, Failure> {
        let unchanged = Expectation::RecordRevision { kind: record.kind, key: record.key, revision: record.revision };
        let request = serde_json::from_value(record.body)
            .map_err(|error| Failure::internal(format!("an access request cannot be read: {error}")))?;
        Ok(Self { request, unchanged })
    }
}

impl Status {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Approved => "Approved",
            Self::Denied => "Denied",
            Self::Expired => "Expired",
        }
    }
}

impl AccessRequest {
    /// Reads the body of a request that somebody makes for themselves.
    pub(super) fn asked(
        body: &Value,
        name: Uuid,
        scope: &ResourceId,
        principal: &Principal,
        now: Timestamp,
    ) -> Result<Self, ArmError> {
        let property = |name: &str| body.get("properties").and_then(|properties| properties.get(name));
        // The full id of a role definition, or its GUID alone.
        let role = property("roleDefinitionId").and_then(Value::as_str).and_then(|id| id.rsplit('/').next());
        let Some(role_definition_id) = role.and_then(|role| Uuid::try_parse(role).ok()) else {
            let target = "properties.roleDefinitionId";
            return Err(ArmError::invalid_parameter(
                target,
                format!("{target} is needed: the id of the role asked for."),
            ));
        };
        let other = property("principalId")
            .and_then(Value::as_str)
            .filter(|id| Uuid::try_parse(id).ok() != Some(principal.object_id));
        if other.is_some() {
            let message = "Access is asked for oneself only. Leave properties.principalId out.";
            return Err(ArmError::invalid_parameter("properties.principalId", message));
        }
        let days = match property("expiresInDays") {
            None | Some(Value::Null) => DAYS,
            Some(days) => days.as_i64().filter(|days| (1..=MAX_DAYS).contains(days)).ok_or_else(|| {
                let message = format!("properties.expiresInDays is a whole number from 1 to {MAX_DAYS}.");
                ArmError::invalid_parameter("properties.expiresInDays", message)
            })?,
        };
        Ok(Self {
            name,
            scope: scope.to_string(),
            principal_id: principal.object_id,
            is_service_principal: principal.kind != PrincipalKind::User,
            role_definition_id,
            justification: text(property("justification"), "properties.justification")?.unwrap_or_default(),
            status: Status::Pending,
            created_on: now,
            expires_on: after_days(now, days),
            decided_by: None,
            decided_on: None,
            reason: None,
        })
    }

    /// Notes a decision, and the reason in the body if there is one.
    pub(super) fn decide(
        &mut self,
        status: Status,
        body: Option<&Value>,
        by: &Principal,
        now: Timestamp,
    ) -> Result<(), ArmError> {
        let reason = body.and_then(|body| body.get("properties")).and_then(|properties| properties.get("reason"));
        self.reason = text(reason, "properties.reason")?;
        self.status = status;
        self.decided_by = Some(by.object_id);
        self.decided_on = Some(now);
        Ok(())
    }

    pub(super) fn status_at(&self, now: Timestamp) -> Status {
        match self.status {
            Status::Pending if self.expires_on <= now => Status::Expired,
            status => status,
        }
    }

    pub(super) fn scope_id(&self) -> Result<ResourceId, Failure> {
        Ok(ResourceId::parse(&self.scope)?)
    }

    pub(super) fn id(&self) -> String {
        format!("{}/providers/{TYPE_NAME}/{}", self.scope.trim_end_matches('/'), self.name)
    }

    /// Whether another one of the same principal is for the same role at the same scope.
    pub(super) fn asks_the_same(&self, other: &Self) -> bool {
        self.role_definition_id == other.role_definition_id && self.scope.eq_ignore_ascii_case(&other.scope)
    }

    /// The write of it. What is over is kept for a while, to be looked at.
    pub(super) fn put(&self) -> Result<Change, Failure> {
        Ok(Change::PutRecord {
            kind: KIND.to_owned(),
            key: self.name.to_string(),
            owner: Some(self.principal_id.to_string()),
            body: serde_json::to_value(self).map_err(|error| Failure::internal(error.to_string()))?,
            expires: Some(after_days(self.expires_on, KEPT_DAYS)),
        })
    }

    pub(super) fn answer(&self, role_name: Option<&str>, now: Timestamp) -> Value {
        let status = self.status_at(now);
        json!({
            "id": self.id(),
            "name": self.name,
            "type": TYPE_NAME,
            "properties": {
                "status": status.as_str(),
                "scope": self.scope,
                "principalId": self.principal_id,
                "roleDefinitionId": self.role_definition_id,
                "roleName": role_name,
                "justification": self.justification,
                "createdOn": self.created_on,
                "expiresOn": self.expires_on,
                "decidedOn": self.decided_on,
                "reason": self.reason,
                "roleAssignmentName": (status == Status::Approved).then_some(self.name),
            },
        })
    }
}

fn text(value: Option<&Value>, target: &str) -> Result<Option<String>, ArmError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.chars().count() <= MAX_TEXT => Ok(Some(text.clone())),
        Some(_) => {
            Err(ArmError::invalid_parameter(target, format!("{target} is a text of at most {MAX_TEXT} characters.")))
        }
    }
}

fn after_days(moment: Timestamp, days: i64) -> Timestamp {
    moment.checked_add(SignedDuration::from_hours(days * 24)).unwrap_or(Timestamp::MAX)
}

/// The records that requests are kept in.
pub(super) const KIND: &str = "access-request";

const TYPE_NAME: &str = "Bastide.Authorization/accessRequests";

/// How long a request waits for a decision when it does not say.
const DAYS: i64 = 14;

/// ... and at most.
const MAX_DAYS: i64 = 90;

/// How long it is kept for those who look back.
const KEPT_DAYS: i64 = 30;

/// Longest justification, and reason.
const MAX_TEXT: usize = 1024;
