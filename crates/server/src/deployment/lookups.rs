//! What a template asks of the world, asked on behalf of its deployer.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use bastide_arm::error::ArmError;
use bastide_identity::Principal;
use bastide_template::{Answer, Live, Need, Node, Plan, Stop, TemplateError};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Method, Uri};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

use super::redaction::Redaction;
use crate::context::Context;
use crate::failure::Failure;
use crate::front::Front;
use crate::reply::Reply;

/// Asks for a deployment, with the deployer's rights, and remembers what it was told.
pub(super) struct Lookups<'a> {
    pub(super) front: &'a Front,
    pub(super) principal: &'a Principal,
    pub(super) context: &'a Context,
    pub(super) redaction: Arc<Redaction>,
    known: Mutex<HashMap<Need, Answer>>,
    /// Lower-cased names of the outputs that may be shown of nested deployments that also have others, by their need.
    shown: Mutex<HashMap<Need, BTreeSet<String>>>,
}

impl<'a> Lookups<'a> {
    pub(super) fn new(
        front: &'a Front,
        principal: &'a Principal,
        context: &'a Context,
        redaction: Arc<Redaction>,
    ) -> Self {
        Self { front, principal, context, redaction, known: Mutex::default(), shown: Mutex::default() }
    }

    /// The same for a deployment inside this one. It remembers for itself: what it deploys changes while it runs.
    pub(super) fn within(&self) -> Self {
        Self::new(self.front, self.principal, self.context, Arc::clone(&self.redaction))
    }

    /// Evaluates, looking up what is missing, until there is a value.
    ///
    /// [`Failure::Refused`] is a mistake of the template.
    pub(super) async fn evaluate<T: Send>(
        &self,
        evaluate: impl Fn(&dyn Live) -> Result<T, Stop> + Send + Sync,
    ) -> Result<T, Failure> {
        // What could not be had is remembered for this evaluation only: it may be there for the next.
        let mut failed = HashMap::new();
        for _ in 0..MAX_ROUNDS {
            let needs = match evaluate(&Known { lookups: self, failed: &failed }) {
                Ok(value) => return Ok(value),
                Err(Stop::Invalid(error)) => return Err(self.redaction.error(&refusal(&error)).into()),
                Err(Stop::Missing(needs)) => needs,
            };
            let wanted = if needs.certain.is_empty() { needs.possible } else { needs.certain };
            if wanted.is_empty() {
                return Err(Failure::internal("an evaluation waits for nothing"));
            }
            let known = Known { lookups: self, failed: &failed };
            let wanted: Vec<Need> = wanted.into_iter().filter(|need| known.look_up(need) == Answer::Missing).collect();
            if wanted.is_empty() {
                let message = "It waits for a parameter that is known only while the deployment runs.";
                return Err(ArmError::new(400, NOT_FORESEEABLE, message).into());
            }
            for need in wanted {
                match self.fetch(&need).await? {
                    answer @ Answer::Known { .. } => self.remember(need, answer),
                    answer => {
                        failed.insert(need, answer);
                    }
                }
            }
        }
        let message = "An expression keeps asking for more live state; make it simpler.";
        Err(ArmError::new(400, "InvalidTemplate", message).into())
    }

    /// The plan of a nested deployment before anything is deployed: with live state, or, where its parameters wait for
    /// what the deployment would make, as far as it does not hang on them.
    pub(super) async fn foresee(&self, node: &Node) -> Result<Option<Plan>, Failure> {
        match self.evaluate(|live| node.expand(live)).await {
            Err(Failure::Refused(error)) => node.nested().cloned().map(Some).ok_or(Failure::Refused(error)),
            foreseen => foreseen,
        }
    }

    /// Remembers an answer that did not have to be asked for.
    pub(super) fn remember(&self, need: Need, answer: Answer) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(need, answer);
    }

    /// What is known about a resource that this deployment deployed, secret outputs included.
    fn deployed(&self, need: &Need) -> Option<Answer> {
        let Need::Resource { id, .. } = need else { return None };
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&own(id)).cloned()
    }

    /// Remembers the whole answer of a nested deployment: what the store shows of it lacks the secret outputs.
    pub(super) fn remember_deployment(&self, id: &str, value: Value, shown: BTreeSet<String>) {
        let outputs = value.pointer("/properties/outputs").and_then(Value::as_object).into_iter().flatten();
        for (_, output) in outputs.filter(|(name, _)| !shown.contains(&name.to_ascii_lowercase())) {
            self.redaction.learn(output);
        }
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).insert(own(id), shown);
        self.remember(own(id), Answer::Known { value, secret: true });
    }

    async fn fetch(&self, need: &Need) -> Result<Answer, Failure> {
        match need {
            Need::Resource { id, api_version } => {
                let uri = self.uri(id, None, api_version.as_deref())?;
                self.told(Method::GET, uri, None, false).await
            }
            Need::List { id, function, api_version, body } => {
                let uri = self.uri(id, Some(function), api_version.as_deref())?;
                let Ok(body) = body.as_deref().map(serde_json::from_str).transpose() else {
                    return Ok(Answer::Failed(format!("The body for '{function}' is not JSON.")));
                };
                self.told(Method::POST, uri, body, true).await
            }
            Need::Secret { vault, name, .. } => Ok(Answer::Failed(format!(
                "The secret '{name}' of '{vault}' cannot be read: parameters by key vault reference are not supported \
                 yet. Pass the value as a secure parameter."
            ))),
            Need::Document { uri } => Ok(self.front.mirror.document(uri).await),
        }
    }

    async fn told(&self, method: Method, uri: Uri, body: Option<Value>, secret: bool) -> Result<Answer, Failure> {
        match self.ask(method, uri, body).await {
            Ok(reply) => {
                let value = reply.into_body().unwrap_or_default();
                if secret {
                    self.redaction.learn_listed(&value);
                }
                Ok(Answer::Known { value, secret })
            }
            Err(Failure::Refused(error)) => Ok(Answer::Failed(format!("{} ({})", error.message, error.code))),
            Err(failure) => Err(failure),
        }
    }

    /// A request of the deployer's own. Boxed, because answering one may lead here again.
    pub(super) fn ask(&self, method: Method, uri: Uri, body: Option<Value>) -> BoxFuture<'_, Result<Reply, Failure>> {
        let context = self.context.step(method, uri, self.front.clock.now());
        async move { self.front.ask(self.principal, &context, body).await }.boxed()
    }

    /// The URL of a resource or of an action on it.
    pub(super) fn uri(&self, id: &str, action: Option<&str>, api_version: Option<&str>) -> Result<Uri, ArmError> {
        let version = api_version.map_or_else(|| self.latest_version(id), str::to_owned);
        let mut path = path_of(id);
        if let Some(action) = action {
            path.push('/');
            path.extend(utf8_percent_encode(action, SEGMENT));
        }
        let version: String = utf8_percent_encode(&version, SEGMENT).collect();
        format!("{path}?api-version={version}")
            .parse()
            .map_err(|_| ArmError::invalid_resource_id(id, "It does not make a URL."))
    }

    fn latest_version(&self, id: &str) -> String {
        let type_name = bastide_arm::id::ResourceId::parse(id).map(|id| id.type_name()).unwrap_or_default();
        let registered = self.front.registry.find(&type_name, "").ok();
        let latest = registered.and_then(|found| found.rules.descriptor().api_versions.first().copied());
        latest.unwrap_or(ANY_VERSION).to_owned()
    }
}

/// What an evaluation sees.
struct Known<'a> {
    lookups: &'a Lookups<'a>,
    failed: &'a HashMap<Need, Answer>,
}

impl Live for Known<'_> {
    fn shows_output(&self, deployment: &str, output: &str) -> bool {
        let shown = self.lookups.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.get(&own(deployment)).is_some_and(|shown| shown.contains(&output.to_ascii_lowercase()))
    }

    fn look_up(&self, need: &Need) -> Answer {
        if let Some(answer) = self.failed.get(need) {
            return answer.clone();
        }
        if let Some(answer) = self.lookups.deployed(need) {
            return answer;
        }
        let known = self.lookups.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(need).cloned().unwrap_or(Answer::Missing)
    }
}

/// The error of a template as ARM words it.
pub(super) fn refusal(error: &TemplateError) -> ArmError {
    let message = format!("Deployment template validation failed: '{error}'.");
    ArmError::new(400, error.code.as_str(), message)
        .with_target(error.place.clone())
        .with_info("TemplateViolation", error.violation())
}

/// The path of a URL to a resource.
pub(super) fn path_of(id: &str) -> String {
    let mut path = String::with_capacity(id.len());
    for segment in id.split('/').filter(|segment| !segment.is_empty()) {
        path.push('/');
        path.extend(utf8_percent_encode(segment, SEGMENT));
    }
    path
}

/// Under which a nested deployment is remembered, whatever version it is asked for with.
fn own(id: &str) -> Need {
    Need::Resource { id: id.to_ascii_lowercase(), api_version: Some(OWN.to_owned()) }
}

/// No api-version looks like this.
const OWN: &str = "own";

/// The code of what can be said only while a deployment runs.
pub(super) const NOT_FORESEEABLE: &str = "NotForeseeable";

/// For types that name no version of their own.
const ANY_VERSION: &str = "2024-11-01";

/// An expression that was answered this often and still asks.
const MAX_ROUNDS: usize = 64;

/// What a path segment must not hold as it is.
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b'/')
    .add(b'&')
    .add(b'+');
