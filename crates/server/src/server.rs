//! Putting the house together: settings in, one router out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use bastide_arm::clock::Clock;
use bastide_arm::id::ResourceId;
use bastide_arm::path::tidied;
use bastide_arm::resource_type::Parity;
use bastide_identity::{Identity, Principal, WELL_KNOWN_RESOURCE_MANAGER_AUDIENCES};
use bastide_store::Store;
use bastide_vault::Sealer;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Uri;
use uuid::Uuid;

use crate::activity_log::Refusals;
use crate::body::heard_out;
use crate::capacity;
use crate::compute::activity::Activity;
use crate::compute::{self, Inside, Ways};
use crate::deployment::Mirror;
use crate::discovery;
use crate::failure::Failure;
use crate::front::{self, Front};
use crate::graph::{self, Authority, Graph};
use crate::ledger::Ledger;
use crate::login::{self, Login};
use crate::metrics::{self, Metrics};
use crate::network::{Lookout, NetworkSettings, Networks, Planner, Survey};
use crate::operations::{self, Runner};
use crate::origin::Origins;
use crate::pass::{ASSIGN, Gatekeeper, Identified, Reach};
use crate::policy::Book;
use crate::private_endpoints::Approvals;
use crate::registry::Registry;
use crate::throttle::Throttle;

/// What the operator decides about the server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The origins it answers under.
    pub origins: Origins,
    /// The tenant.
    pub tenant_id: Uuid,
    /// The first subscription: whoever owns it manages the directory.
    pub subscription_id: Uuid,
    /// Whether to refuse what the cloud refuses.
    pub parity: Parity,
    /// Whether types nobody implements are stored.
    pub generic_resources: bool,
    /// Folders that stand for the addresses of linked templates, by `https` prefix. Nothing is fetched from the network.
    pub template_mirror: BTreeMap<String, PathBuf>,
    /// The networks of hubs.
    pub network: NetworkSettings,
}

/// The server, ready to be served.
pub struct Server {
    front: Arc<Front>,
    runner: Option<Runner>,
    planner: Option<Planner>,
    subscription_id: Uuid,
}

impl Server {
    /// A server over an open store.
    pub fn new(settings: Settings, store: Store, identity: Identity, sealer: Sealer, clock: Arc<dyn Clock>) -> Self {
        let (queue, accepted) = operations::queue();
        let networks = Networks::new(settings.network.enforcement.clone());
        let site = settings.network.site(settings.origins.zone());
        let capacity = capacity::of_host();
        let gatekeeper = Arc::new(Gatekeeper::new(store.clone(), identity.directory().clone()));
        let approvals = Approvals {
            store: store.clone(),
            gatekeeper: Arc::clone(&gatekeeper),
            directory: identity.directory().clone(),
        };
        let inside = Inside { api: settings.network.api.clone(), sealer: sealer.clone() };
        let lookout = Lookout::new(approvals, Arc::clone(&clock));
        let survey = Survey::new(store.clone(), capacity, inside);
        let planner = Planner::new(networks.clone(), store.clone(), site.clone(), survey, lookout.clone());
        let own = settings.origins.all().map(|origin| origin.as_str().to_owned());
        let audiences = own.chain(WELL_KNOWN_RESOURCE_MANAGER_AUDIENCES.map(str::to_owned)).collect();
        let registry = Registry::new(settings.generic_resources);
        let zone = settings.origins.zone();
        let policies = Arc::new(Book::new(store.clone(), registry.clone(), zone, settings.tenant_id));
        let front = Arc::new(Front {
            ledger: Ledger::new(store, networks.clone(), Arc::clone(&policies), registry.clone()),
            registry,
            policies,
            networks: networks.clone(),
            site,
            lookout,
            internet: settings.network.internet,
            activity: Activity::new(Arc::clone(&clock)),
            quota_turn: tokio::sync::Mutex::default(),
            gatekeeper,
            identity,
            audiences,
            sealer,
            clock,
            origins: Arc::new(settings.origins),
            metrics: Arc::new(Metrics::new()),
            throttle: Throttle::default(),
            refusals: Refusals::default(),
            queue,
            tenant_id: settings.tenant_id,
            parity: settings.parity,
            capacity,
            mirror: Mirror::new(settings.template_mirror),
            ways: Ways::default(),
        });
        let runner = Runner::new(Arc::clone(&front), accepted);
        Self { front, runner: Some(runner), planner: Some(planner), subscription_id: settings.subscription_id }
    }

    /// The runner of long-running operations; to be spawned once.
    pub fn runner(&mut self) -> Option<impl Future<Output = ()> + Send + use<>> {
        self.runner.take().map(Runner::run)
    }

    /// The planner of networks; to be spawned once.
    pub fn planner(&mut self) -> Option<impl Future<Output = ()> + Send + use<>> {
        self.planner.take().map(Planner::run)
    }

    /// Everything the port answers: the neighbours that need no token of ours first, then the front door.
    pub fn router(&self) -> Router {
        let front = &self.front;
        let origins = &front.origins;
        let login =
            Login { identity: front.identity.clone(), origins: Arc::clone(origins), clock: Arc::clone(&front.clock) };
        let authority =
            Owners { front: Arc::clone(front), subscription: ResourceId::subscription(self.subscription_id) };
        let graph = Graph {
            identity: front.identity.clone(),
            audiences: graph::audiences(origins).into(),
            origins: Arc::clone(origins),
            authority: Arc::new(authority),
        };
        let store = front.ledger.store().clone();
        let routes = Router::new()
            .route("/healthz", get(|| async { "ok" }))
            .route("/readyz", get(ready).with_state(store.clone()))
            .route("/metrics", get(metrics::serve).with_state((Arc::clone(&front.metrics), store)))
            .merge(discovery::routes(Arc::clone(origins), front.tenant_id))
            .merge(login::routes(login.clone()))
            .merge(login::door(login, Arc::new(Arc::clone(front))))
            .merge(graph::routes(graph))
            .fallback_service(any(front::serve).with_state(Arc::clone(front)));
        // The layer must be outside of routing, so the routes become the fallback of a router that has none.
        Router::new()
            .fallback_service(routes)
            .layer(middleware::from_fn(tidy_path))
            .layer(middleware::from_fn_with_state(Arc::clone(front), compute::divert))
            .layer(middleware::from_fn(heard_out))
    }
}

/// The directory belongs to whoever has its actions in the first subscription. Whoever could become a principal with
/// roles, by a credential or by a membership, must be able to give those roles away as it is, all of them and without a
/// condition: in the subscription, or in the tenant for principals with roles beyond it.
struct Owners {
    front: Arc<Front>,
    subscription: ResourceId,
}

impl Authority for Owners {
    fn may<'a>(&'a self, principal: &'a Principal, action: &'a str, target: Option<Uuid>) -> BoxFuture<'a, bool> {
        async move {
            let may = self.decide(principal, action, target).await.unwrap_or(false);
            if !may {
                self.front.note_directory_refusal(principal, action, target).await;
            }
            may
        }
        .boxed()
    }
}

impl Owners {
    async fn decide(&self, principal: &Principal, action: &str, target: Option<Uuid>) -> Result<bool, Failure> {
        let gatekeeper = &self.front.gatekeeper;
        let epoch = gatekeeper.epoch().await?;
        let caller = Identified { principal: principal.clone(), epoch };
        if !gatekeeper.may(&caller, action, &self.subscription).await? {
            return Ok(false);
        }
        let Some(target) = target.filter(|target| *target != principal.object_id) else { return Ok(true) };
        let directory = self.front.identity.directory();
        let Some(object) = directory.object(target).await? else { return Ok(true) };
        let target = Identified { principal: directory.principal(&object).await?, epoch };
        let scope = match gatekeeper.reach(&target, &self.subscription).await? {
            Reach::Nowhere => return Ok(true),
            Reach::Within => self.subscription.clone(),
            Reach::Beyond => ResourceId::tenant(),
        };
        gatekeeper.may(&caller, ASSIGN, &scope).await
    }
}

async fn ready(State(store): State<Store>) -> Response {
    match store.ping().await {
        Ok(()) => "ready".into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer").into_response(),
    }
}

/// Clients append paths to endpoints that may end in a slash (wire-az-cli.md section 2), so repeated slashes are one.
async fn tidy_path(mut request: Request, next: Next) -> Response {
    if request.uri().path().contains("//") {
        let path = tidied(request.uri().path());
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = format!("{path}{query}").parse().ok().or(parts.path_and_query);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    next.run(request).await
}
