//! Cloud discovery: `/metadata/endpoints`, the document from which clients learn every other address.
//!
//! Three readers with habits of their own decide its shape: `az` and the Terraform providers ask with `2022-09-01` and
//! expect one object; `azure-ai-ml` and az's `ARM_CLOUD_METADATA_URL` ask with `2019-05-01` and read a list. They compare
//! what they find literally, so nothing but `microsoftGraphResourceId` ends in a slash, and every URL has the origin that
//! was asked. The SDK asks about ten times per client object, hence the documents are rendered once.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::origin::{Origin, Origins, host};

/// The name of this cloud. Never that of a public one: clients would take their built-in table instead of ours.
pub const CLOUD_NAME: &str = "Bastide";

/// What `/metadata/endpoints` answers to a client that asked under `asked`: a list for the api-versions that had one,
/// otherwise one object.
pub fn metadata(origins: &Origins, asked: &Origin, tenant_id: Uuid, api_version: Option<&str>) -> Value {
    let cloud = cloud(origins, asked, tenant_id);
    if api_version.is_some_and(answers_a_list) { json!([cloud]) } else { cloud }
}

/// The discovery routes. They need no token and change only with the configuration.
pub fn routes(origins: Arc<Origins>, tenant_id: Uuid) -> Router {
    let documents = Documents::render(&origins, tenant_id);
    Router::new()
        .route("/metadata/endpoints", get(endpoints))
        // Clients put the path behind an endpoint that people typed; these two were seen as well.
        .route("/metadata/endpoints/", get(endpoints))
        .route("/Metadata/Endpoints", get(endpoints))
        .route("/metadata/vmImageAliases", get(image_aliases))
        .with_state(Arc::new(Discovery { origins, documents }))
}

struct Discovery {
    origins: Arc<Origins>,
    documents: Documents,
}

/// Both documents of every origin, ready to send.
struct Documents(HashMap<Origin, Rendered>);

#[derive(Clone, Default)]
struct Rendered {
    object: Bytes,
    list: Bytes,
}

impl Documents {
    fn render(origins: &Origins, tenant_id: Uuid) -> Self {
        let render = |asked: &Origin| Rendered {
            object: metadata(origins, asked, tenant_id, None).to_string().into(),
            list: metadata(origins, asked, tenant_id, Some("2019-05-01")).to_string().into(),
        };
        Self(origins.all().map(|origin| (origin.clone(), render(origin))).collect())
    }
}

async fn endpoints(
    State(discovery): State<Arc<Discovery>>,
    headers: HeaderMap,
    uri: Uri,
    RawQuery(query): RawQuery,
) -> Response {
    let asked = discovery.origins.asked(host(&headers, &uri));
    let rendered = discovery.documents.0.get(asked).cloned().unwrap_or_default();
    let query = query.unwrap_or_default();
    let version = url::form_urlencoded::parse(query.as_bytes())
        .find_map(|(name, value)| name.eq_ignore_ascii_case("api-version").then_some(value));
    let body = if version.as_deref().is_some_and(answers_a_list) { rendered.list } else { rendered.object };
    document(body)
}

/// az reads short names of machine images here. We have none, and say so instead of sending it to the internet.
async fn image_aliases() -> Response {
    document(Bytes::from_static(br#"{"outputs":{"aliases":{"type":"object","value":{}}}}"#))
}

fn document(body: Bytes) -> Response {
    // Shared caches may keep it: it is the same for everybody. Minutes, not days: a moved endpoint must be found again.
    let headers = [(CONTENT_TYPE, "application/json; charset=utf-8"), (CACHE_CONTROL, "public, max-age=300")];
    (headers, body).into_response()
}

fn answers_a_list(api_version: &str) -> bool {
    matches!(api_version, "2018-05-01" | "2019-05-01")
}

fn cloud(origins: &Origins, asked: &Origin, tenant_id: Uuid) -> Value {
    let graph = format!("{asked}/graph/");
    let service = |label: &str| format!("https://{label}.{}{}", origins.zone(), asked.port_suffix());
    // `azmirrorStorageAccountResourceId` belongs here once we serve az its extension index; before that az would ask the
    // address for it and find nothing.
    json!({
        "portal": format!("{asked}/portal"),
        "authentication": {
            // Without `/adfs`: Terraform appends `/{tenant}/oauth2/v2.0/token`. az is told the adfs authority by hand.
            "loginEndpoint": asked.as_str(),
            // The first is the audience az asks tokens for.
            "audiences": [asked.as_str(), "https://management.azure.com/", "https://management.core.windows.net/"],
            "tenant": tenant_id.to_string(),
            // Not ADFS: that makes Terraform take us for an Azure Stack.
            "identityProvider": "AAD",
        },
        "media": service("media"),
        "graphAudience": graph,
        "graph": graph,
        "name": CLOUD_NAME,
        "suffixes": suffixes(origins.zone(), asked.port_suffix()),
        "batch": service("batch"),
        "resourceManager": asked.as_str(),
        "vmImageAliasDoc": format!("{asked}/metadata/vmImageAliases"),
        "activeDirectoryDataLake": service("datalake"),
        "sqlManagement": service("sqlmanagement"),
        // Audience of Graph tokens and base URL of Graph calls in one, hence the path.
        "microsoftGraphResourceId": graph,
        "appInsightsResourceId": service("insights"),
        "appInsightsTelemetryChannelResourceId": format!("{}/v2/track", service("insights")),
        "appServiceResourceId": service("appservice"),
        "attestationResourceId": service("attest"),
        "synapseAnalyticsResourceId": service("synapse"),
        "logAnalyticsResourceId": service("loganalytics"),
        "ossrdbmsResourceId": service("ossrdbms"),
        "gallery": format!("{asked}/gallery"),
    })
}

/// Suffixes to which clients prepend a name of their own, without a leading dot: az adds one where it is missing, Terraform
/// and the SDK always join with a dot. Those of HTTPS services carry the port, because clients build `https://{name}.
/// {suffix}/` and nothing else; databases have protocols and ports of their own.
fn suffixes(zone: &str, port: &str) -> Value {
    json!({
        "acrLoginServer": format!("azurecr.{zone}{port}"),
        "attestationEndpoint": format!("attest.{zone}{port}"),
        "azureDataLakeAnalyticsCatalogAndJob": format!("datalakeanalytics.{zone}{port}"),
        "azureDataLakeStoreFileSystem": format!("datalakestore.{zone}{port}"),
        "azureFrontDoorEndpointSuffix": format!("frontdoor.{zone}{port}"),
        "keyVaultDns": format!("vault.{zone}{port}"),
        "mariadbServerEndpoint": format!("mariadb.database.{zone}"),
        "mhsmDns": format!("managedhsm.{zone}{port}"),
        "mysqlServerEndpoint": format!("mysql.database.{zone}"),
        "postgresqlServerEndpoint": format!("postgres.database.{zone}"),
        "sqlServerHostname": format!("database.{zone}"),
        // The account comes with the service's name, as in `{account}.blob.{suffix}`.
        "storage": format!("{zone}{port}"),
        "storageSyncEndpointSuffix": format!("afs.{zone}{port}"),
        "synapseAnalytics": format!("dev.synapse.{zone}{port}"),
    })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    const TENANT: Uuid = Uuid::from_u128(0x1111_2222_3333_4444_5555_6666_7777_8888);

    fn origins() -> Origins {
        let alias = Origin::parse("https://127.0.0.1:8443").unwrap();
        Origins::new(Origin::parse("https://localhost:8443").unwrap(), vec![alias], "bastide.localhost")
    }

    async fn ask(host: &str, query: &str) -> (StatusCode, HeaderMap, Value) {
        let request = Request::get(format!("/metadata/endpoints{query}")).header("host", host);
        let router = routes(Arc::new(origins()), TENANT);
        let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
        (parts.status, parts.headers, body)
    }

    #[tokio::test]
    async fn the_document_is_the_one_clients_were_recorded_with() {
        let (status, headers, body) = ask("localhost:8443", "?api-version=2022-09-01").await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers["cache-control"], "public, max-age=300");
        insta::assert_json_snapshot!(body);
    }

    #[tokio::test]
    async fn old_api_versions_get_a_list_and_the_rest_one_object() {
        for version in ["2018-05-01", "2019-05-01"] {
            let (_, _, body) = ask("localhost:8443", &format!("?api-version={version}")).await;
            assert_eq!(body[0]["name"], "Bastide", "{version}");
        }
        for query in ["", "?api-version=2022-09-01", "?api-version=2025-01-01", "?api-version=nonsense"] {
            let (_, _, body) = ask("localhost:8443", query).await;
            assert_eq!(body["name"], "Bastide", "{query}");
        }
    }

    #[tokio::test]
    async fn the_resource_manager_is_a_substring_of_the_url_that_was_asked() {
        for host in ["localhost:8443", "127.0.0.1:8443"] {
            let (_, _, body) = ask(host, "").await;
            let asked = format!("https://{host}/metadata/endpoints?api-version=2019-05-01");
            assert!(asked.contains(body["resourceManager"].as_str().unwrap()), "{host}");
        }
    }

    #[tokio::test]
    async fn a_host_nobody_configured_is_not_echoed() {
        let (status, _, body) = ask("evil.example", "").await;
        assert_eq!(status, StatusCode::OK);
        assert!(!body.to_string().contains("evil.example"));
    }

    #[test]
    fn on_the_default_port_no_suffix_carries_a_port() {
        let origin = Origin::parse("https://hub.example.org").unwrap();
        let origins = Origins::new(origin.clone(), Vec::new(), "svc.example.org");
        let document = metadata(&origins, &origin, TENANT, None);
        assert_eq!(document["suffixes"]["keyVaultDns"], "vault.svc.example.org");
        assert_eq!(document["suffixes"]["storage"], "svc.example.org");
    }

    #[test]
    fn only_the_graph_has_a_trailing_slash() {
        let origins = origins();
        let document = metadata(&origins, origins.public(), TENANT, None);
        for (name, value) in document.as_object().unwrap() {
            if let Some(text) = value.as_str() {
                assert_eq!(text.ends_with('/'), name.to_lowercase().contains("graph"), "{name}: {text}");
            }
        }
    }
}
