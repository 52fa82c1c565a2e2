//! Somebody in a compute: let in like every request, and put out when the right to be there is gone.
//!
//! A connection lasts longer than the check it began with. So whoever holds one is checked anew whenever anything has
//! changed, and from time to time: an assignment that was revoked, a compute that was stopped, deleted or made private, a
//! token that has expired each end it within a second or a few.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::Document;
use bastide_hub::compute::user::{self, Use};
use bastide_hub::compute::{Desired, Kind};
use bastide_identity::Secret;
use bastide_plan::hub_plan::ComputeId;
use jiff::Timestamp;
use uuid::Uuid;

use super::activity::InUse;
use crate::bearer::bearer;
use crate::failure::Failure;
use crate::front::{Credential, Front};
use crate::ledger::Entries;
use crate::pass::Pass;
use crate::request::Request;

/// Somebody in a compute.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    /// Which compute.
    pub(crate) id: ResourceId,
    /// Its incarnation: a namesake that comes later is another one.
    pub(crate) compute: ComputeId,
    /// The keys that may log in to it by SSH, one a line.
    pub(crate) keys: String,
    what: Use,
    /// The address they come from.
    from: Option<IpAddr>,
    standing: Standing,
    /// Which of its starts it is.
    start: u64,
    _place: Arc<Place>,
    /// A page that is open somewhere is no use of a compute: whoever has a shell is at work there.
    _use: Option<Arc<InUse>>,
}

/// What a visitor proves themselves with, each time anew.
#[derive(Debug, Clone)]
pub(crate) enum Standing {
    /// An access token.
    Token(Secret),
    /// Having signed in on our own page.
    SignedIn {
        /// Who.
        object_id: Uuid,
        /// When.
        since: Timestamp,
    },
}

/// How many are in which compute.
#[derive(Debug, Clone, Default)]
pub(crate) struct Visits(Arc<Mutex<HashMap<ComputeId, usize>>>);

/// A place among those who may be in a compute at once; free again when this is dropped.
#[derive(Debug)]
struct Place {
    visits: Visits,
    compute: ComputeId,
}

impl Front {
    /// The visit that a request asks for, which its route has authorised. It is on record before it begins.
    pub(crate) async fn visit_of(&self, request: &Request<'_>, pass: &Pass, what: Use) -> Result<Visit, Failure> {
        let token = bearer(request.headers).ok_or_else(ArmError::authentication_failed)?;
        let from = request.context.client_ip;
        let visit = self.admitted(pass, Standing::Token(Secret::new(token)), what, from).await?;
        self.ledger.commit(request.context, pass, Entries::default()).await?;
        Ok(visit)
    }

    /// The visit of somebody who comes without a route of the API.
    pub(crate) async fn visit(
        &self,
        standing: Standing,
        id: &ResourceId,
        what: Use,
        from: Option<IpAddr>,
    ) -> Result<Visit, Failure> {
        let caller = self.identify(&standing.credential()).await?;
        let pass = self.gatekeeper.authorise(&caller, APPLICATION_ACCESS, id).await?;
        self.admitted(&pass, standing, what, from).await
    }

    /// Resolves when a visit must end, with the reason.
    pub(crate) async fn revoked(&self, visit: &Visit) -> ArmError {
        // What has changed while they were let in counts as well.
        let (mut as_of, mut asked) = (None, Instant::now());
        loop {
            tokio::time::sleep(LOOK).await;
            let revision = Some(*self.ledger.store().revisions().borrow());
            if revision == as_of && asked.elapsed() < LOOK_AGAIN {
                continue;
            }
            match self.still(visit).await {
                Ok(()) => (as_of, asked) = (revision, Instant::now()),
                Err(Failure::Refused(error)) => return error,
                // Who cannot be asked cannot let anybody stay for ever.
                Err(failure) if asked.elapsed() > BLIND => {
                    tracing::error!(%failure, "whether somebody may stay in a compute could not be found out");
                    return ArmError::service_unavailable(
                        "Whether you may stay could not be found out. Connect again.",
                        1,
                    );
                }
                Err(_) => {}
            }
        }
    }

    /// Whether a visitor may still be there.
    async fn still(&self, visit: &Visit) -> Result<(), Failure> {
        let caller = self.identify(&visit.standing.credential()).await?;
        let pass = self.gatekeeper.authorise(&caller, APPLICATION_ACCESS, &visit.id).await?;
        let entry = self.ledger.resource(&pass, &visit.id).await?;
        let entry = entry.filter(|entry| entry.row.incarnation == visit.compute.0);
        let entry = entry.ok_or_else(|| ArmError::resource_not_found(&visit.id))?;
        user::admit(&entry.document, caller.principal.object_id, visit.what)?;
        if start_of(&entry.document) != visit.start {
            let message = "This compute was started anew. Connect again.";
            return Err(ArmError::new(409, "ComputeNotRunning", message).into());
        }
        self.check_door(&pass, &visit.id, visit.from).await
    }

    async fn admitted(
        &self,
        pass: &Pass,
        standing: Standing,
        what: Use,
        from: Option<IpAddr>,
    ) -> Result<Visit, Failure> {
        let id = pass.scope();
        let entry = self.ledger.resource(pass, id).await?.ok_or_else(|| ArmError::resource_not_found(id))?;
        if Kind::of(&entry.document) != Some(Kind::Instance) {
            let message = format!("'{}' is no compute instance: there is nobody's shell or page in it.", id.name());
            return Err(ArmError::new(409, "NotAnInstance", message).into());
        }
        user::admit(&entry.document, pass.principal().object_id, what)?;
        self.check_door(pass, id, from).await?;
        let compute = ComputeId(entry.row.incarnation);
        let keys = bastide_hub::compute::inner(&entry.document)
            .and_then(|inner| inner.get("sshSettings")?.get("adminPublicKey")?.as_str());
        Ok(Visit {
            id: entry.id,
            compute,
            keys: keys.unwrap_or_default().to_owned(),
            what,
            from,
            standing,
            start: start_of(&entry.document),
            _place: Arc::new(self.ways.visits.enter(compute)?),
            _use: (what == Use::Shell).then(|| Arc::new(self.activity.enter(compute))),
        })
    }
}

impl Standing {
    fn credential(&self) -> Credential<'_> {
        match self {
            Self::Token(token) => Credential::Token(token.expose()),
            Self::SignedIn { object_id, since } => Credential::Lent { object_id: *object_id, since: *since },
        }
    }
}

impl Visits {
    fn enter(&self, compute: ComputeId) -> Result<Place, ArmError> {
        let mut visits = self.all();
        let count = visits.entry(compute).or_default();
        if *count >= MOST {
            let message = format!("{MOST} connections to this compute are open already. Close some of them.");
            return Err(ArmError::new(429, "TooManyConnections", message));
        }
        *count += 1;
        drop(visits);
        Ok(Place { visits: self.clone(), compute })
    }

    fn all(&self) -> MutexGuard<'_, HashMap<ComputeId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut visits = self.visits.all();
        if let Some(count) = visits.get_mut(&self.compute) {
            *count -= 1;
            if *count == 0 {
                visits.remove(&self.compute);
            }
        }
    }
}

/// Counts the starts of a compute.
fn start_of(document: &Document) -> u64 {
    Desired::of(document).map_or(0, |desired| desired.start)
}

/// What it takes to get into a compute: the action that Azure has for it.
pub(crate) const APPLICATION_ACCESS: &str =
    "Microsoft.MachineLearningServices/workspaces/computes/applicationaccess/action";

/// Connections to one compute at once. A page of Jupyter has a dozen.
const MOST: usize = 256;

/// How often is looked whether anything has changed.
const LOOK: Duration = Duration::from_millis(500);

/// How often a visitor is checked although it has not: tokens expire.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How long a visit goes on that cannot be checked.
const BLIND: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_free_again() {
        let visits = Visits::default();
        let (one, other) = (ComputeId(Uuid::from_u128(1)), ComputeId(Uuid::from_u128(2)));
        let mut places: Vec<_> = (0..MOST).map(|_| visits.enter(one).unwrap()).collect();
        assert_eq!(visits.enter(one).unwrap_err().status, 429);
        drop(visits.enter(other).unwrap());
        places.pop();
        drop(visits.enter(one).unwrap());
        drop(places);
        assert!(visits.all().is_empty());
    }
}
