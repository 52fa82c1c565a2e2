//! Reading, writing and deleting one resource of any type: the part that all types share.

mod body;
mod deletion;
mod place;
mod wire_form;
mod write;

pub(crate) use body::{document_of_patch, document_of_put};
pub(crate) use wire_form::system_data;
pub(crate) use write::Settled;

use bastide_arm::envelope::Envelope;
use bastide_arm::resource_type::{Author, Document, Existing};
use bastide_hub::private_endpoint_connection::is_connection;
use http::{StatusCode, header};

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::Entry;
use crate::pass::Pass;
use crate::preconditions::check_preconditions;
use crate::providers::vault_access_policy;
use crate::reply::Reply;
use crate::request::Request;
use crate::soft_delete::refuse_recovery;

/// What a body asks for, and what is to be said with the answer.
pub(crate) struct Wish {
    pub envelope: Envelope,
    pub document: Document,
    pub warnings: Vec<String>,
}

impl Front {
    /// GET of a resource.
    pub(crate) async fn read_resource(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        if is_connection(&request.registered()?.name) {
            return self.read_connection(request, pass).await;
        }
        if request.registered()?.name == vault_access_policy::TYPE_NAME {
            return self.read_access_policies(request, pass).await;
        }
        let entry = match self.own_or_lent(request, pass).await? {
            Some(entry) => entry,
            None => self.entry_or_404(request, pass).await?,
        };
        let body = self.wire_form(request, pass, request.registered()?, &entry).await?;
        Ok(Reply::ok(body).header(header::ETAG, &quoted(&entry.row.etag)))
    }

    /// HEAD of a resource: 204 or 404.
    pub(crate) async fn check_resource(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let entry = self.entry_or_404(request, pass).await?;
        Ok(Reply::empty(StatusCode::NO_CONTENT).header(header::ETAG, &quoted(&entry.row.etag)))
    }

    /// PUT of a resource: the whole document, new or in place of the old one.
    pub(crate) async fn put_resource(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let registered = request.registered()?;
        if is_connection(&registered.name) {
            return self.decide_connection(request, pass).await;
        }
        if registered.name == vault_access_policy::TYPE_NAME {
            return self.change_access_policies(request, pass).await;
        }
        let descriptor = registered.rules.descriptor();
        let mut existing = self.ledger.resource(pass, &request.matched.target).await?;
        check_preconditions(request, existing.as_ref())?;
        let was_new = existing.is_none();
        let mut warnings = Vec::new();
        if let Some(soft) = registered.rules.soft_delete().filter(|_| !request.is_rehearsal) {
            match &existing {
                Some(stands) => refuse_recovery(soft, request.body, &stands.id)?,
                None => (existing, warnings) = self.recovered(request, pass, soft).await?,
            }
            if let Some(back) = existing.take_if(|_| was_new && !soft.recovery_changes) {
                return self.written(request, pass, registered, false, back, &warnings).await;
            }
        }
        let mut envelope = Envelope::read_patch(request.object()?)?;
        for name in descriptor.read_only {
            envelope.properties.remove(*name);
        }
        let document = document_of_put(&mut envelope, descriptor, existing.as_ref(), &request.matched.target)?;
        Box::pin(self.write_resource(request, pass, existing, Wish { envelope, document, warnings })).await
    }

    /// PATCH of a resource: what the body names changes, the rest stays.
    pub(crate) async fn patch_resource(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let registered = request.registered()?;
        let descriptor = registered.rules.descriptor();
        let existing = self.entry_or_404(request, pass).await?;
        check_preconditions(request, Some(&existing))?;
        let mut envelope = Envelope::read_patch(request.object()?)?;
        for name in descriptor.read_only {
            envelope.properties.remove(*name);
        }
        let document = document_of_patch(&mut envelope, descriptor, &existing)?;
        let wish = Wish { envelope, document, warnings: Vec::new() };
        Box::pin(self.write_resource(request, pass, Some(existing), wish)).await
    }
}

impl Entry {
    /// As an admission sees the resource it changes.
    pub(crate) fn existing(&self) -> Existing<'_> {
        Existing { incarnation: self.row.incarnation, document: &self.document }
    }
}

/// Who asks, as it is kept with what they make.
pub(crate) fn author(pass: &Pass) -> Author {
    let principal = pass.principal();
    Author { object_id: principal.object_id, name: principal.name.clone() }
}

pub(crate) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

pub(crate) const X_MS_BASTIDE_WARNING: header::HeaderName = header::HeaderName::from_static("x-ms-bastide-warning");
