//! POST actions on resources.

use std::collections::BTreeMap;

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{Acted, ActionCall, Secret};
use bastide_hub::workspace::DIAGNOSE;
use bastide_store::{Change, Resource};
use http::{StatusCode, header};
use serde_json::json;
use uuid::Uuid;

use crate::associated_resources::LIST_ASSOCIATED_RESOURCES;
use crate::batch::BATCH_OUTBOUND_RULES;
use crate::connection_test::TEST_CONNECTION;
use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::{Entries, Entry};
use crate::operations::accepted;
use crate::pass::{Pass, WORKSPACE};
use crate::registry::Registered;
use crate::reply::Reply;
use crate::request::Request;
use crate::resource::author;

impl Front {
    /// POST of an action that the type declares.
    pub(crate) async fn invoke_action(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let id = &request.matched.target;
        let registered = request.registered()?;
        let entry = self.own_or_lent(request, pass).await?;
        let entry = entry.ok_or_else(|| ArmError::resource_not_found(id))?;
        let name = request.matched.action_name.as_deref().unwrap_or_default();
        if name == BATCH_OUTBOUND_RULES {
            return self.batch_outbound_rules(request, pass, entry).await;
        }
        if name == LIST_ASSOCIATED_RESOURCES {
            return self.list_associated_resources(request, pass, &entry).await;
        }
        if name == TEST_CONNECTION {
            return self.test_connection(request, pass, &entry).await;
        }
        if name == DIAGNOSE && registered.name == WORKSPACE {
            return self.diagnose(request, pass, &entry).await;
        }
        let empty = json!({});
        let around = self.around(request.context, pass, registered, &entry).await?;
        let secrets = self.secrets(entry.row.incarnation).await?;
        let is_secret = registered.rules.descriptor().action(name).is_none_or(|action| action.secret);
        let mut linked_secrets = BTreeMap::new();
        for (key, linked) in around.linked.iter().filter(|_| is_secret) {
            linked_secrets.insert(key.clone(), self.secrets(linked.incarnation).await?);
        }
        let author = author(pass);
        let act = |entry: &Entry| {
            registered.rules.act(&ActionCall {
                id: &entry.id,
                action: name,
                argument: request.matched.values.first().map(String::as_str),
                existing: entry.existing(),
                body: request.body.unwrap_or(&empty),
                secrets: &secrets,
                linked: &around.linked,
                linked_secrets: &linked_secrets,
                observed: self.seen(registered, entry).as_deref(),
                api_version: request.api_version,
                origin: request.context.origin.as_str(),
                tenant_id: request.tenant_id,
                author: &author,
                now: request.context.now,
                fresh_secret: &fresh_secret,
            })
        };
        let mut acted = act(&entry)?;
        if acted.accepted {
            return self.accept_action(request, pass, registered, &entry, acted).await;
        }
        // What reveals a secret is on record before it answers (security.md section 4).
        if is_secret || acted.document.is_some() || !acted.effects.is_empty() {
            let mut entries = Entries { expect: vec![entry.stands()], changes: Vec::new() };
            self.apply_effects(entry.row.incarnation, &entry.id, acted.effects, &mut entries.changes)?;
            if let Some(document) = acted.document {
                let Resource { type_name, incarnation, listed, .. } = &entry.row;
                entries.expect.push(entry.unchanged());
                entries.changes.push(Entry::put(&entry.id, type_name, *incarnation, *listed, document, pass)?);
            }
            let committed = self.ledger.commit(request.context, pass, entries).await?;
            if let Some(row) = committed.resources.into_iter().next() {
                // What the action has brought about is answered, not what it has found.
                self.networks.settle(&entry.id).await;
                acted.answer = act(&Entry::read(row)?)?.answer;
            }
        }
        let reply = acted.answer.map_or_else(|| Reply::empty(StatusCode::OK), Reply::ok);
        Ok(if is_secret { reply.header(header::CACHE_CONTROL, "no-store") } else { reply })
    }

    /// 202 for an action that the node has still to carry out. It may take of a quota: a compute that is started again.
    async fn accept_action(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        registered: &Registered,
        entry: &Entry,
        acted: Acted,
    ) -> Result<Reply, Failure> {
        let mut entries = Entries { expect: vec![entry.stands()], changes: Vec::new() };
        self.apply_effects(entry.row.incarnation, &entry.id, acted.effects, &mut entries.changes)?;
        let after = acted.document.as_ref().unwrap_or(&entry.document);
        let operation = self.awaiting(request, pass, registered, &entry.id, (Some(entry), Some(after)));
        let _turn = self.quota_turn.lock().await;
        if let Some(document) = acted.document {
            self.keep_quota(request, pass, registered, (&entry.id, Some(&entry.document), &document), &mut entries)
                .await?;
            let Resource { type_name, incarnation, listed, .. } = &entry.row;
            entries.expect.push(entry.unchanged());
            entries.changes.push(Entry::put(&entry.id, type_name, *incarnation, *listed, document, pass)?);
        }
        entries.changes.push(Change::PutOperation(operation.clone()));
        self.ledger.commit(request.context, pass, entries).await?;
        self.queue.accept(operation.id);
        Ok(accepted(request, &entry.id, operation.id))
    }
}

/// 244 random bits, printable.
pub(crate) fn fresh_secret() -> Secret {
    Secret::new(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()))
}
