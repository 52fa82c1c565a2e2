//! What a compute finds inside of itself, so that the usual clients work there as they are: where Bastide is, whom to
//! trust, who it is.

use bastide_arm::resource_type::Linked;
use bastide_plan::compute_plan::{File, Instance};
use bastide_plan::hub_plan::ComputeId;
use bastide_vault::Sealer;
use serde_json::json;

use super::metadata::MSI_ENDPOINT;
use crate::origin::Origin;

/// What is the same for all computes of this server.
#[derive(Debug, Clone)]
pub(crate) struct Inside {
    /// Under which origin computes find this server; none: not at all.
    pub(crate) api: Option<Origin>,
    /// What their secrets are derived from.
    pub(crate) sealer: Sealer,
}

impl Inside {
    /// Puts into an instance what belongs there. What somebody has set already stays.
    pub(crate) fn furnish(&self, instance: &mut Instance, compute: &Linked, workspace: &Linked) {
        let environment = &mut instance.environment;
        let mut set = |name: &str, value: String| {
            environment.entry(name.to_owned()).or_insert(value);
        };
        for name in TRUST {
            set(name, TRUSTED.to_owned());
        }
        if let Some(api) = &self.api {
            // What `bastide env python` exports; the SDK falls back to the public cloud without a word unless it is told
            // the name of this one (wire-azure-ai-ml.md section 1).
            set("ARM_CLOUD_METADATA_URL", format!("{}/metadata/endpoints?api-version=2019-05-01", api.as_str()));
            set("AZUREML_CURRENT_CLOUD", "Bastide".to_owned());
            set("AZURE_AUTHORITY_HOST", api.as_str().to_owned());
            set("BASTIDE_ENDPOINT", api.as_str().to_owned());
            set("BASTIDE_CA_FILE", TRUSTED.to_owned());
        }
        if let Some(subscription) = workspace.id.subscription_id() {
            set("AZURE_SUBSCRIPTION_ID", subscription.to_owned());
        }
        // Without an identity there is nobody to ask for, and clients are to go on to their next way of signing in.
        let has_identity = compute.document.identity.as_ref().is_some_and(|identity| !identity.is_empty());
        if has_identity && let Some(secret) = secret(&self.sealer, instance.compute) {
            set("MSI_ENDPOINT", MSI_ENDPOINT.to_owned());
            set("MSI_SECRET", secret);
        }
        instance.files.push(File { path: CONFIGURATION.to_owned(), content: configuration(workspace) });
    }
}

/// What the clients of one instance prove to its metadata service that they are not led there by somebody else's words.
pub(super) fn secret(sealer: &Sealer, compute: ComputeId) -> Option<String> {
    let secret =
        sealer.derive("msi", compute.0).inspect_err(|error| tracing::error!(%error, "no secret for a compute"));
    Some(secret.ok()?.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")))
}

/// What `MLClient.from_config()` looks for, from the directory it runs in up to the root.
fn configuration(workspace: &Linked) -> String {
    let id = &workspace.id;
    let configuration = json!({
        "subscription_id": id.subscription_id(),
        "resource_group": id.resource_group(),
        "workspace_name": id.name(),
    });
    format!("{configuration:#}\n")
}

const CONFIGURATION: &str = "/config.json";

/// Where Debian keeps whom its programs trust. The agent sees to it that it is whom the node trusts, and Bastide.
const TRUSTED: &str = "/etc/ssl/certs/ca-certificates.crt";

/// How the libraries are told that bring roots of their own, and would not look there.
const TRUST: [&str; 5] = ["CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bastide_arm::id::ResourceId;
    use bastide_arm::resource_type::{AssignedIdentity, Document, Principal};
    use bastide_plan::compute_plan::{Image, Isolation, Run, Size};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_compute_with_an_identity_is_told_how_to_ask_for_it() {
        let identity = AssignedIdentity { system: Some(principal()), ..AssignedIdentity::default() };
        let instance = furnished(Some(identity));
        assert_eq!(instance.environment["MSI_ENDPOINT"], "http://169.254.169.254/msi/token");
        assert_eq!(instance.environment["MSI_SECRET"].len(), 64);
        assert_eq!(instance.environment["BASTIDE_ENDPOINT"], "https://api.bastide.internal:8443");
        assert_eq!(instance.environment["REQUESTS_CA_BUNDLE"], "mine");
        let configuration: serde_json::Value = serde_json::from_str(&instance.files[0].content).unwrap();
        assert_eq!(configuration["workspace_name"], "hub");
    }

    #[test]
    fn one_without_an_identity_is_not() {
        assert!(!furnished(None).environment.contains_key("MSI_ENDPOINT"));
        assert!(!furnished(Some(AssignedIdentity::default())).environment.contains_key("MSI_SECRET"));
    }

    fn furnished(identity: Option<AssignedIdentity>) -> Instance {
        let directory = tempfile::tempdir().unwrap();
        let inside = Inside {
            api: Some(Origin::parse("https://api.bastide.internal:8443").unwrap()),
            sealer: Sealer::open_or_create(&directory.path().join("key")).unwrap(),
        };
        let hub = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g/providers\
                   /Microsoft.MachineLearningServices/workspaces/hub";
        let mut instance = instance();
        let compute = linked(&format!("{hub}/computes/c"), Document { identity, ..Document::default() });
        inside.furnish(&mut instance, &compute, &linked(hub, Document::default()));
        instance
    }

    fn linked(id: &str, document: Document) -> Linked {
        Linked { id: ResourceId::parse(id).unwrap(), incarnation: Uuid::from_u128(1), document }
    }

    fn principal() -> Principal {
        Principal { principal_id: Uuid::from_u128(2), client_id: Uuid::from_u128(3) }
    }

    fn instance() -> Instance {
        Instance {
            compute: ComputeId(Uuid::from_u128(1)),
            name: "c".to_owned(),
            run: Run::Running,
            start: 1,
            image: Image::Base,
            isolation: Isolation::Container,
            size: Size { cpu_millis: 1, memory: 1, processes: 1, disk: 1, gpus: 0 },
            user: "azureuser".to_owned(),
            keys: Vec::new(),
            environment: BTreeMap::from([("REQUESTS_CA_BUNDLE".to_owned(), "mine".to_owned())]),
            files: Vec::new(),
            shares: Vec::new(),
            creation_script: None,
            startup_script: None,
        }
    }
}
