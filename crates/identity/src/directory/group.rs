//! Groups of principals, which may be groups again.

use std::collections::BTreeSet;

use bastide_store::{Change, RecordQuery};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{Directory, DirectoryObject, GROUPS, MEMBERSHIP, Standing, absent, put_record, unused};
use crate::error::IdentityError;

impl Directory {
    /// Makes an empty group. Names of groups need not be unique.
    pub async fn create_group(&self, display_name: impl Into<String>) -> Result<Group, IdentityError> {
        self.create_described_group(display_name, None).await
    }

    /// As [`Directory::create_group`], with what the group is for.
    pub async fn create_described_group(
        &self,
        display_name: impl Into<String>,
        description: Option<String>,
    ) -> Result<Group, IdentityError> {
        let object_id = Uuid::new_v4();
        let standing = Standing::new(self.clock.now());
        let group = Group { object_id, display_name: display_name.into(), description, standing };
        let changes = vec![DirectoryObject::Group(group.clone()).put()];
        self.commit("groups/create", object_id, unused(object_id), changes).await?;
        Ok(group)
    }

    /// A page of groups, by object id.
    pub async fn groups(&self, after: Option<Uuid>, limit: u32) -> Result<Vec<Group>, IdentityError> {
        let objects = self.list(GROUPS, after, limit).await?;
        let group = |object| if let DirectoryObject::Group(group) = object { Some(group) } else { None };
        Ok(objects.into_iter().filter_map(group).collect())
    }

    /// Adds a user, a service principal or another group. Adding a member twice changes nothing.
    pub async fn add_member(&self, group: Uuid, member: Uuid) -> Result<(), IdentityError> {
        if !matches!(self.required(group).await?, DirectoryObject::Group(_)) {
            return Err(absent("group", group));
        }
        self.required(member).await?;
        let owner = Some(member.to_string());
        let changes = vec![put_record(MEMBERSHIP, key(group, member), owner, json!({}))];
        self.commit_about("groups/addMember", group, Some(("member", member)), Vec::new(), changes).await
    }

    /// Removes a direct member; removing what is no member changes nothing.
    pub async fn remove_member(&self, group: Uuid, member: Uuid) -> Result<(), IdentityError> {
        let changes = vec![membership_deletion(group, member)];
        self.commit_about("groups/removeMember", group, Some(("member", member)), Vec::new(), changes).await
    }

    /// The direct members of a group.
    pub async fn members(&self, group: Uuid) -> Result<Vec<Uuid>, IdentityError> {
        let prefix = format!("{group}/");
        let mut query = RecordQuery {
            kind: MEMBERSHIP.into(),
            owner: None,
            now: self.clock.now(),
            after: Some(prefix.clone()),
            limit: PAGE,
        };
        let mut members = Vec::new();
        loop {
            let records = self.store.records(&query).await?;
            let Some(last) = records.last() else { return Ok(members) };
            query.after = Some(last.key.clone());
            for record in &records {
                // The records are in the order of their keys, so the group ends where its prefix does.
                let Some(member) = record.key.strip_prefix(&prefix) else { return Ok(members) };
                members.push(parse(member, &record.key)?);
            }
        }
    }

    /// Every group the principal belongs to, directly or through other groups, in the order of their ids. Circles of
    /// groups do no harm.
    pub async fn transitive_groups(&self, principal: Uuid) -> Result<Vec<Uuid>, IdentityError> {
        let groups = self.store.holders(MEMBERSHIP, &principal.to_string(), self.clock.now()).await?;
        groups.iter().map(|group| parse(group, group)).collect()
    }

    /// Everybody in a group, directly or through other groups, and those groups: `limit` of them at most.
    pub async fn transitive_members(&self, group: Uuid, limit: u32) -> Result<BTreeSet<Uuid>, IdentityError> {
        let members = self.store.held(MEMBERSHIP, &group.to_string(), self.clock.now(), limit).await?;
        members.iter().map(|member| parse(member, member)).collect()
    }
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// The immutable id.
    pub object_id: Uuid,
    /// The name to show.
    pub display_name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When it was made.
    #[serde(flatten)]
    pub standing: Standing,
}

pub(super) fn membership_deletion(group: Uuid, member: Uuid) -> Change {
    Change::DeleteRecord { kind: MEMBERSHIP.into(), key: key(group, member) }
}

fn key(group: Uuid, member: Uuid) -> String {
    format!("{group}/{member}")
}

fn parse(id: &str, key: &str) -> Result<Uuid, IdentityError> {
    Uuid::try_parse(id).map_err(|_| IdentityError::Damaged { kind: MEMBERSHIP, key: key.to_owned() })
}

const PAGE: u32 = 500;
