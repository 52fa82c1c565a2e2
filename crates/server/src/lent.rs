//! What one resource lends another: a project sees the connections its hub shares, by name and in lists.

use bastide_arm::id::ResourceId;
use bastide_store::ResourceQuery;

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::Entry;
use crate::pass::Pass;
use crate::registry::Registered;
use crate::request::Request;

impl Front {
    /// The request's target; where there is none of that name, what is lent under it.
    pub(crate) async fn own_or_lent(&self, request: &Request<'_>, pass: &Pass) -> Result<Option<Entry>, Failure> {
        let target = &request.matched.target;
        if let Some(own) = self.ledger.resource(pass, target).await? {
            return Ok(Some(own));
        }
        let Some(parent) = target.parent().filter(ResourceId::is_resource) else { return Ok(None) };
        let rules = &request.registered()?.rules;
        let Some(parent) = self.ledger.surrounding(pass, &parent).await? else { return Ok(None) };
        let Some(lender) = rules.lender(&parent.document) else { return Ok(None) };
        let kind = target.types().last().copied().unwrap_or_default().to_owned();
        let there = self.ledger.surrounding(pass, &lender.child(&kind, target.name())?).await?;
        Ok(there.filter(|entry| rules.is_lent(&entry.document)))
    }

    /// Everything of a type that is lent to a parent, but for what a child of its own hides.
    pub(crate) async fn all_lent(
        &self,
        pass: &Pass,
        registered: &Registered,
        parent: &Entry,
    ) -> Result<Vec<Entry>, Failure> {
        let Some(lender) = registered.rules.lender(&parent.document) else { return Ok(Vec::new()) };
        let kind = registered.rules.descriptor().types.last().copied().unwrap_or_default();
        let query = ResourceQuery {
            prefix: Some(format!("{}{}/", lender.prefix(), kind.to_ascii_lowercase())),
            types: vec![registered.name.clone()],
            limit: MAX_LENT,
            ..ResourceQuery::default()
        };
        let mut lent = Vec::new();
        for entry in self.ledger.surroundings(pass, &query).await? {
            let own = parent.id.child(kind, entry.id.name())?;
            if registered.rules.is_lent(&entry.document) && self.ledger.surrounding(pass, &own).await?.is_none() {
                lent.push(entry);
            }
        }
        Ok(lent)
    }
}

/// More than this is not listed; each is still found by its name.
const MAX_LENT: u32 = 1000;
