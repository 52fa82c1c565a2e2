//! Resource providers: what types there are, and whether a subscription has them registered.

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::location::Location;
use bastide_arm::resource_type::Descriptor;
use bastide_store::{Change, Record};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::Entries;
use crate::list::paged;
use crate::pass::Pass;
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// GET of all providers, without a subscription.
    pub(crate) async fn list_tenant_providers(&self, request: &Request<'_>, _pass: &Pass) -> Result<Reply, Failure> {
        let values = self.registry.namespaces().map(|namespace| self.provider(namespace, None, true)).collect();
        Ok(paged(request, values, None))
    }

    /// GET of all providers as the subscription has them.
    pub(crate) async fn list_providers(&self, request: &Request<'_>, _pass: &Pass) -> Result<Reply, Failure> {
        let subscription = &request.matched.target;
        let records = self.ledger.records(request.context, REGISTRATION, subscription.key()).await?;
        let withdrawn: Vec<String> =
            records.into_iter().filter(|record| !says_registered(record)).map(|record| record.key).collect();
        let provider = |namespace| {
            let registered = !withdrawn.contains(&registration_key(subscription, namespace));
            self.provider(namespace, Some(subscription), registered)
        };
        Ok(paged(request, self.registry.namespaces().map(provider).collect(), None))
    }

    /// GET of one provider.
    pub(crate) async fn read_provider(&self, request: &Request<'_>, _pass: &Pass) -> Result<Reply, Failure> {
        let namespace = self.namespace(request)?;
        let subscription = Some(&request.matched.target).filter(|target| target.is_subscription());
        let registered = match subscription {
            Some(_) => self.is_registered(request, namespace).await?,
            None => true,
        };
        Ok(Reply::ok(self.provider(namespace, subscription, registered)))
    }

    /// POST of register and unregister.
    pub(crate) async fn set_registration(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        registered: bool,
    ) -> Result<Reply, Failure> {
        let namespace = self.namespace(request)?;
        let subscription = &request.matched.target;
        if self.is_registered(request, namespace).await? != registered {
            let changes = vec![registration(subscription, namespace, registered)];
            self.ledger.commit(request.context, pass, Entries { expect: Vec::new(), changes }).await?;
        }
        Ok(Reply::ok(self.provider(namespace, Some(subscription), registered)))
    }

    /// GET of a provider's operations: the actions roles can grant.
    pub(crate) fn list_provider_operations(&self, request: &Request<'_>) -> Result<Reply, Failure> {
        let namespace = self.namespace(request)?;
        let values = self.registry.types_of(namespace).flat_map(operations).collect();
        Ok(paged(request, values, None))
    }

    /// A write to a type registers its provider, as tools expect who never registered one (mission.md A19).
    pub(crate) async fn register_provider(
        &self,
        pass: &Pass,
        id: &ResourceId,
        entries: &mut Entries,
    ) -> Result<(), Failure> {
        let (Some(subscription), Some(namespace)) = (id.subscription_id(), self.registry.namespace(id.namespace()))
        else {
            return Ok(());
        };
        let subscription = ResourceId::parse(&format!("/subscriptions/{subscription}"))?;
        let key = registration_key(&subscription, namespace);
        let record = self.ledger.store().record(REGISTRATION, &key, jiff::Timestamp::MIN).await?;
        if record.is_some_and(|record| !says_registered(&record)) {
            tracing::info!(namespace, principal = %pass.principal().object_id, "registered by first use");
            entries.changes.push(registration(&subscription, namespace, true));
        }
        Ok(())
    }

    async fn is_registered(&self, request: &Request<'_>, namespace: &str) -> Result<bool, Failure> {
        let key = registration_key(&request.matched.target, namespace);
        let record = self.ledger.record(request.context, REGISTRATION, &key).await?;
        Ok(record.as_ref().is_none_or(says_registered))
    }

    fn namespace(&self, request: &Request<'_>) -> Result<&'static str, ArmError> {
        let asked = request.matched.value(0);
        self.registry.namespace(asked).ok_or_else(|| ArmError::invalid_resource_namespace(asked))
    }

    fn provider(&self, namespace: &'static str, subscription: Option<&ResourceId>, registered: bool) -> Value {
        let types: Vec<Value> = self.registry.types_of(namespace).map(resource_type).collect();
        let scope = subscription.map(ToString::to_string).unwrap_or_default();
        let mut provider = json!({
            "id": format!("{scope}/providers/{namespace}"),
            "namespace": namespace,
            "resourceTypes": types,
        });
        if let (Some(fields), Some(_)) = (provider.as_object_mut(), subscription) {
            let state = if registered { "Registered" } else { "Unregistered" };
            fields.insert("registrationState".into(), state.into());
            fields.insert("registrationPolicy".into(), "RegistrationRequired".into());
        }
        provider
    }
}

fn resource_type(descriptor: &Descriptor) -> Value {
    let locations: Vec<&str> = Location::known().map(|(_, display)| display).collect();
    json!({
        "resourceType": descriptor.types.join("/"),
        "locations": if descriptor.tracked { locations } else { Vec::new() },
        "apiVersions": descriptor.api_versions,
        "defaultApiVersion": descriptor.api_versions.iter().find(|version| !version.contains("preview")),
        "capabilities": if descriptor.tracked { "SupportsTags, SupportsLocation" } else { "None" },
    })
}

fn operations(descriptor: &Descriptor) -> Vec<Value> {
    let type_name = descriptor.type_name();
    let verbs = [("read", "Read"), ("write", "Create or update"), ("delete", "Delete")];
    let line = |suffix: String, text: String| {
        json!({
            "name": format!("{type_name}/{suffix}"),
            "isDataAction": false,
            "display": {
                "provider": descriptor.namespace,
                "resource": descriptor.types.join("/"),
                "operation": text,
                "description": format!("{text} ({type_name})"),
            },
        })
    };
    let verbs = verbs.iter().map(|(suffix, text)| line((*suffix).to_owned(), (*text).to_owned()));
    let actions = descriptor.actions.iter();
    verbs.chain(actions.map(|action| line(format!("{}/action", action.name), action.name.to_owned()))).collect()
}

fn registration(subscription: &ResourceId, namespace: &str, registered: bool) -> Change {
    Change::PutRecord {
        kind: REGISTRATION.to_owned(),
        key: registration_key(subscription, namespace),
        owner: Some(subscription.key().to_owned()),
        body: json!(registered),
        expires: None,
    }
}

fn says_registered(record: &Record) -> bool {
    record.body != json!(false)
}

fn registration_key(subscription: &ResourceId, namespace: &str) -> String {
    format!("{}/{}", subscription.key(), namespace.to_ascii_lowercase())
}

/// Kind of the records that say a provider is not registered; without one it is.
const REGISTRATION: &str = "provider-registration";
