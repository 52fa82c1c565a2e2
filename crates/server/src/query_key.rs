//! The query keys of a search service come and go. To delete one is to put the key itself into the path, so there is a route
//! of its own, which keeps it out of ids, logs and records.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{Document, Effect};
use http::{StatusCode, header};
use serde_json::json;

use crate::action::fresh_secret;
use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::{Entries, Entry};
use crate::pass::Pass;
use crate::providers::search_query_key::{self, QueryKeys};
use crate::reply::Reply;
use crate::request::Request;

/// A path as it may be logged.
pub(crate) fn without_query_key(path: &str) -> &str {
    match path.to_ascii_lowercase().find(DELETION) {
        Some(at) => path.get(..at + DELETION.len()).unwrap_or_default(),
        None => path,
    }
}

impl Front {
    /// POST of the name of a new key, which is answered with the key.
    pub(crate) async fn create_query_key(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let service = self.search_service(request, pass).await?;
        let (name, secret) = (request.matched.value(0), fresh_secret());
        let mut document = service.document.clone();
        let effect = QueryKeys::create(&mut document, name, &secret)?;
        self.write_query_keys(request, pass, &service, document, effect).await?;
        // Revealed to whoever asked for it, and to nobody else.
        let answer = json!({"name": name, "key": secret.reveal()});
        Ok(Reply::ok(answer).header(header::CACHE_CONTROL, "no-store"))
    }

    /// DELETE of the key that the path holds: 204 also when there is no such key.
    pub(crate) async fn delete_query_key(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let service = self.search_service(request, pass).await?;
        let secrets = self.secrets(service.row.incarnation).await?;
        let mut document = service.document.clone();
        if let Some(effect) = QueryKeys::delete(&mut document, &secrets, request.matched.value(0)) {
            self.write_query_keys(request, pass, &service, document, effect).await?;
        }
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    }

    async fn search_service(&self, request: &Request<'_>, pass: &Pass) -> Result<Entry, Failure> {
        let id = &request.matched.target;
        let service = self.ledger.resource(pass, id).await?;
        let service = service.filter(|_| id.type_name().eq_ignore_ascii_case(search_query_key::SERVICE));
        Ok(service.ok_or_else(|| ArmError::resource_not_found(id))?)
    }

    async fn write_query_keys(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        service: &Entry,
        document: Document,
        effect: Effect,
    ) -> Result<(), Failure> {
        let row = &service.row;
        let put = Entry::put(&service.id, &row.type_name, row.incarnation, row.listed, document, pass)?;
        let mut entries = Entries { expect: vec![service.unchanged()], changes: vec![put] };
        self.apply_effects(row.incarnation, &service.id, vec![effect], &mut entries.changes)?;
        self.ledger.commit(request.context, pass, entries).await?;
        Ok(())
    }
}

const DELETION: &str = "/deletequerykey/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_a_path_is_not_logged() {
        let path = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Search/searchServices/x/deleteQueryKey/";
        assert_eq!(without_query_key(&format!("{path}0123")), path);
        assert_eq!(without_query_key("/subscriptions/s"), "/subscriptions/s");
    }
}
