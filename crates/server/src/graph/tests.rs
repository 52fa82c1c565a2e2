use std::sync::Mutex;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::login::fixture::{ADMIN, Answer, Fixture, ORIGIN, TENANT, send};

/// Answers every question alike and remembers them.
struct Fixed {
    answer: bool,
    asked: Mutex<Vec<String>>,
}

impl Authority for Fixed {
    fn may<'a>(&'a self, _: &'a Principal, action: &'a str, _: Option<Uuid>) -> BoxFuture<'a, bool> {
        self.asked.lock().unwrap().push(action.to_owned());
        async move { self.answer }.boxed()
    }
}

/// Allows everything, and disables an object as soon as it has answered a question.
struct Hasty {
    directory: bastide_identity::Directory,
    object: Uuid,
    questions: Mutex<usize>,
}

impl Authority for Hasty {
    fn may<'a>(&'a self, _: &'a Principal, _: &'a str, _: Option<Uuid>) -> BoxFuture<'a, bool> {
        async move {
            let is_last = {
                let mut questions = self.questions.lock().unwrap();
                *questions = questions.wrapping_sub(1);
                *questions == 0
            };
            if is_last {
                self.directory.set_enabled(self.object, false).await.unwrap();
            }
            true
        }
        .boxed()
    }
}

/// A directory with a signed-in client.
struct Directory {
    fixture: Fixture,
    authority: Arc<Fixed>,
    token: String,
}

impl Directory {
    async fn with_authority(answer: bool) -> Self {
        let fixture = Fixture::new().await;
        let token = fixture.client_token(&format!("{ORIGIN}/graph/")).await;
        Self { fixture, authority: Arc::new(Fixed { answer, asked: Mutex::default() }), token }
    }

    async fn new() -> Self {
        Self::with_authority(true).await
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        self.call_under(self.authority.clone(), method, path, body).await
    }

    async fn call_under(&self, authority: Arc<dyn Authority>, method: &str, path: &str, body: Value) -> Answer {
        let uri = format!("/graph/v1.0{}", path.replace(' ', "%20"));
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("host", "localhost:8443")
            .header("authorization", format!("Bearer {}", self.token))
            .body(body)
            .unwrap();
        send(&self.routes_under(authority), request).await
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.call("GET", path, Value::Null).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        answer.json()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.call("POST", path, body).await;
        assert!(answer.status.is_success(), "{path}: {} {}", answer.status, answer.text);
        if answer.text.is_empty() { Value::Null } else { answer.json() }
    }

    async fn create_user(&self, name: &str) -> Value {
        let user = json!({
            "accountEnabled": true,
            "displayName": "Ada",
            "mailNickname": "ada",
            "userPrincipalName": name,
            "passwordProfile": { "password": "correct horse battery", "forceChangePasswordNextSignIn": false },
        });
        self.post("/users", user).await
    }

    fn routes(&self) -> axum::Router {
        self.routes_under(self.authority.clone())
    }

    fn routes_under(&self, authority: Arc<dyn Authority>) -> axum::Router {
        super::routes(Graph {
            identity: self.fixture.identity.clone(),
            audiences: audiences(&self.fixture.origins).into(),
            origins: Arc::clone(&self.fixture.origins),
            authority,
        })
    }
}

fn code(answer: &Answer) -> String {
    answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn nobody_reads_without_a_token() {
    let directory = Directory::new().await;
    for authorization in ["", "Bearer", "Bearer x.y.z", "Basic YTpi"] {
        let request = Request::get("/graph/v1.0/users").header("authorization", authorization).body(Body::empty());
        let answer = send(&directory.routes(), request.unwrap()).await;
        assert_eq!((answer.status, code(&answer).as_str()), (StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken"));
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
}

#[tokio::test]
async fn a_token_for_the_resource_manager_is_not_good_here() {
    let mut directory = Directory::new().await;
    directory.token = directory.fixture.client_token(ORIGIN).await;
    let refused = directory.call("GET", "/users", Value::Null).await;
    assert_eq!((refused.status, code(&refused).as_str()), (StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken"));
    for audience in [format!("{ORIGIN}/graph"), format!("{ORIGIN}/graph/"), "https://graph.microsoft.com".to_owned()] {
        directory.token = directory.fixture.client_token(&audience).await;
        directory.get("/users").await;
    }
}

#[tokio::test]
async fn the_audit_names_the_caller_and_the_request() {
    let directory = Directory::new().await;
    let made = directory.call("POST", "/groups", json!({ "displayName": "team" })).await;
    let record = directory.fixture.last_audit().await;
    assert_eq!(record["objectId"], json!(directory.fixture.ids.client_object_id));
    assert_eq!(record["target"], made.json()["id"]);
    assert_eq!(record["requestId"], made.header("request-id"));
}

#[tokio::test]
async fn who_loses_a_right_between_the_question_and_the_change_changes_nothing() {
    // Asked first when the call comes in, and again when the change is made.
    for questions in [1, 2] {
        let directory = Directory::new().await;
        let object = directory.fixture.ids.client_object_id;
        let hasty = |object| {
            let questions = Mutex::new(questions);
            Arc::new(Hasty { directory: directory.fixture.identity.directory().clone(), object, questions })
        };
        let somebody = directory.create_user("ada@bastide.test").await["id"].as_str().unwrap().parse().unwrap();
        let group = json!({ "displayName": "team" });
        let made = directory.call_under(hasty(somebody), "POST", "/groups", group.clone()).await;
        assert_eq!(made.status, StatusCode::CREATED, "it was another's right: {}", made.text);

        let refused = directory.call_under(hasty(object), "POST", "/groups", group).await;
        assert_eq!((refused.status, code(&refused).as_str()), (StatusCode::FORBIDDEN, "Authorization_RequestDenied"));
        assert_eq!(directory.fixture.identity.directory().groups(None, 9).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_write_needs_its_action_and_a_read_needs_none() {
    let directory = Directory::with_authority(false).await;
    let admin = format!("/users/{ADMIN}");
    let client = format!("/servicePrincipals/{}", directory.fixture.ids.client_object_id);
    let application = format!("/applications/{}", directory.fixture.ids.client_id);
    let writes = [
        ("POST", "/users".to_owned(), "users/write"),
        ("PATCH", admin.clone(), "users/write"),
        ("DELETE", admin, "users/delete"),
        ("POST", "/groups".to_owned(), "groups/write"),
        ("DELETE", "/groups/x".to_owned(), "groups/delete"),
        ("POST", "/groups/x/members/$ref".to_owned(), "groups/members/write"),
        ("DELETE", "/groups/x/members/y/$ref".to_owned(), "groups/members/delete"),
        ("POST", "/servicePrincipals".to_owned(), "servicePrincipals/write"),
        ("PATCH", client.clone(), "servicePrincipals/write"),
        ("DELETE", client.clone(), "servicePrincipals/delete"),
        ("POST", format!("{client}/addPassword"), "servicePrincipals/credentials/write"),
        ("POST", format!("{client}/removePassword"), "servicePrincipals/credentials/write"),
        ("POST", "/applications".to_owned(), "applications/write"),
        ("PATCH", application.clone(), "applications/write"),
        ("DELETE", application.clone(), "applications/delete"),
        ("POST", format!("{application}/addPassword"), "applications/credentials/write"),
        ("POST", format!("{application}/removePassword"), "applications/credentials/write"),
        ("POST", format!("{application}/federatedIdentityCredentials"), "applications/credentials/write"),
        ("DELETE", format!("{application}/federatedIdentityCredentials/x"), "applications/credentials/write"),
    ];
    for (method, path, action) in writes {
        let answer = directory.call(method, &path, json!({})).await;
        assert_eq!(
            (answer.status, code(&answer).as_str()),
            (StatusCode::FORBIDDEN, "Authorization_RequestDenied"),
            "{path}"
        );
        assert!(answer.text.contains("Insufficient privileges"), "az looks for these words");
        let asked = std::mem::take(&mut *directory.authority.asked.lock().unwrap());
        assert_eq!(asked, [format!("Microsoft.Authorization/directory/{action}")], "{method} {path}");
    }
    directory.get("/users").await;
    assert!(directory.authority.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_user_from_creation_to_deletion() {
    let directory = Directory::new().await;
    let user = directory.create_user("ada@bastide.localhost").await;
    assert_eq!(user["@odata.context"], format!("{ORIGIN}/graph/v1.0/$metadata#users/$entity"));
    assert_eq!((&user["displayName"], &user["accountEnabled"]), (&json!("Ada"), &json!(true)));
    let by_name = directory.get("/users/ADA@bastide.localhost").await;
    assert_eq!(by_name["id"], user["id"]);
    let found = directory.get("/users?$filter=userPrincipalName eq 'Ada@bastide.localhost'").await;
    assert_eq!(found["value"][0]["id"], user["id"]);
    let found = directory.get("/users?$filter=startswith(displayName,'ad') and accountEnabled eq true").await;
    assert_eq!(found["value"].as_array().unwrap().len(), 2, "the administrator and Ada");

    let path = format!("/users/{}", user["id"].as_str().unwrap());
    let change = json!({ "accountEnabled": false, "passwordProfile": { "password": "another horse battery" } });
    assert_eq!(directory.call("PATCH", &path, change).await.status, StatusCode::NO_CONTENT);
    assert_eq!(directory.get(&path).await["accountEnabled"], false);
    assert_eq!(directory.call("DELETE", &path, Value::Null).await.status, StatusCode::NO_CONTENT);
    let gone = directory.call("GET", &path, Value::Null).await;
    assert_eq!((gone.status, code(&gone).as_str()), (StatusCode::NOT_FOUND, "Request_ResourceNotFound"));
}

/// `az ad user update --display-name`, `az ad app update --display-name --web-redirect-uris --identifier-uris`.
#[tokio::test]
async fn objects_are_renamed_and_applications_get_other_uris() {
    let directory = Directory::new().await;
    let change = async |path: &str, body: Value| directory.call("PATCH", path, body).await.status;
    let user = directory.create_user("ada@bastide.localhost").await;
    let path = format!("/users/{}", user["id"].as_str().unwrap());
    assert_eq!(change(&path, json!({ "displayName": "Ada King" })).await, StatusCode::NO_CONTENT);
    assert_eq!(directory.get(&path).await["displayName"], "Ada King");
    let refused = directory.call("PATCH", &path, json!({ "userPrincipalName": "king@bastide.localhost" })).await;
    assert!(refused.text.contains("cannot be changed"), "{}", refused.text);

    let group = directory.post("/groups", json!({ "displayName": "team", "description": "builds" })).await;
    assert_eq!(group["description"], "builds");
    let path = format!("/groups/{}", group["id"].as_str().unwrap());
    assert_eq!(change(&path, json!({ "displayName": "crew" })).await, StatusCode::NO_CONTENT);
    let group = directory.get(&path).await;
    assert_eq!((&group["displayName"], &group["description"]), (&json!("crew"), &json!("builds")));

    let application = directory.post("/applications", json!({ "displayName": "web" })).await;
    let path = format!("/applications/{}", application["id"].as_str().unwrap());
    let web = json!({ "displayName": "site", "identifierUris": ["api://site"],
        "web": { "redirectUris": ["https://site.example/cb"] } });
    assert_eq!(change(&path, web).await, StatusCode::NO_CONTENT);
    let native = json!({ "publicClient": { "redirectUris": ["http://localhost"] } });
    assert_eq!(change(&path, native).await, StatusCode::NO_CONTENT);
    let shown = directory.get(&path).await;
    assert_eq!((&shown["displayName"], &shown["identifierUris"]), (&json!("site"), &json!(["api://site"])));
    assert_eq!(shown["web"]["redirectUris"], json!(["https://site.example/cb", "http://localhost"]));
    let found = directory.get("/servicePrincipals?$filter=servicePrincipalNames/any(c:c eq 'API://site')").await;
    assert_eq!(found["value"][0]["appId"], application["appId"]);

    let other = directory.post("/applications", json!({ "displayName": "other" })).await;
    let other = format!("/applications/{}", other["id"].as_str().unwrap());
    let taken = directory.call("PATCH", &other, json!({ "identifierUris": ["api://SITE"] })).await;
    assert_eq!(taken.status, StatusCode::BAD_REQUEST, "{}", taken.text);
    assert_eq!(
        change(&path, json!({ "identifierUris": [], "web": { "redirectUris": [] } })).await,
        StatusCode::NO_CONTENT
    );
    assert_eq!(directory.get(&path).await["web"]["redirectUris"], json!([]));
    assert_eq!(change(&other, json!({ "identifierUris": ["api://site"] })).await, StatusCode::NO_CONTENT, "it is free");
}

#[tokio::test]
async fn a_name_is_given_once() {
    let directory = Directory::new().await;
    directory.create_user("ada@bastide.localhost").await;
    let again = json!({
        "displayName": "Other",
        "userPrincipalName": "ADA@bastide.localhost",
        "passwordProfile": { "password": "correct horse battery" },
    });
    let answer = directory.call("POST", "/users", again).await;
    assert_eq!((answer.status, code(&answer).as_str()), (StatusCode::BAD_REQUEST, "Request_BadRequest"));
}

#[tokio::test]
async fn what_is_wrong_with_a_body_is_said_without_its_values() {
    let directory = Directory::new().await;
    let good = json!({
        "displayName": "Ada",
        "userPrincipalName": "ada@bastide.localhost",
        "passwordProfile": { "password": "correct horse battery" },
    });
    let changes = [
        ("displayName", Value::Null),
        ("displayName", json!(7)),
        ("displayName", json!(" ")),
        ("userPrincipalName", json!("no at sign")),
        ("accountEnabled", json!("yes")),
        ("passwordProfile", Value::Null),
        ("passwordProfile", json!({ "password": "tooshort" })),
        ("passwordProfile", json!({ "password": "hunter2 hunter2 hunter2", "forceChangePasswordNextSignIn": true })),
    ];
    for (name, value) in changes {
        let mut body = good.clone();
        body[name] = value.clone();
        let answer = directory.call("POST", "/users", body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}: {value}");
        assert!(!answer.text.contains("tooshort") && !answer.text.contains("hunter2"), "{}", answer.text);
    }
    for body in ["{", "[]", "{\"a\":1,\"a\":2}", "\u{0}"] {
        let request = Request::post("/graph/v1.0/users")
            .header("authorization", format!("Bearer {}", directory.token))
            .body(Body::from(body))
            .unwrap();
        assert_eq!(send(&directory.routes(), request).await.status, StatusCode::BAD_REQUEST, "{body}");
    }
}

#[tokio::test]
async fn groups_and_their_members() {
    let directory = Directory::new().await;
    let group =
        json!({ "displayName": "builders", "mailNickname": "builders", "mailEnabled": false, "securityEnabled": true });
    let group = directory.post("/groups", group).await;
    let path = format!("/groups/{}", group["id"].as_str().unwrap());
    let user = directory.create_user("ada@bastide.localhost").await;
    let reference =
        json!({ "@odata.id": format!("{ORIGIN}/graph/v1.0/directoryObjects/{}", user["id"].as_str().unwrap()) });
    let members = format!("{path}/members/$ref");
    assert_eq!(directory.call("POST", &members, reference.clone()).await.status, StatusCode::NO_CONTENT);
    let record = directory.fixture.last_audit().await;
    assert_eq!((&record["target"], &record["member"]), (&group["id"], &user["id"]), "who came into what");
    let owners = directory.call("POST", &format!("{path}/owners/$ref"), reference.clone()).await;
    assert!(owners.text.contains("Assign a role"), "{}", owners.text);
    let again = directory.call("POST", &members, reference).await;
    assert!(again.text.contains("already exist"), "{}", again.text);
    let listed = directory.get(&format!("{path}/members")).await;
    assert_eq!(listed["value"][0]["@odata.type"], "#microsoft.graph.user");
    assert_eq!(listed["value"][0]["id"], user["id"]);

    let user_path = format!("/users/{}", user["id"].as_str().unwrap());
    let groups = directory.post(&format!("{user_path}/getMemberGroups"), json!({ "securityEnabledOnly": false })).await;
    assert_eq!(groups["value"], json!([group["id"]]));
    let checked = directory
        .post(
            &format!("/directoryObjects/{}/checkMemberGroups", user["id"].as_str().unwrap()),
            json!({ "groupIds": [group["id"], "00000000-0000-0000-0000-000000000001"] }),
        )
        .await;
    assert_eq!(checked["value"], json!([group["id"]]));

    let member = format!("{path}/members/{}/$ref", user["id"].as_str().unwrap());
    assert_eq!(directory.call("DELETE", &member, Value::Null).await.status, StatusCode::NO_CONTENT);
    assert_eq!(directory.call("DELETE", &member, Value::Null).await.status, StatusCode::NOT_FOUND);
    assert_eq!(directory.get(&format!("{path}/members")).await["value"], json!([]));
}

/// `az ad sp create-for-rbac --skip-assignment`, request by request.
#[tokio::test]
async fn a_service_principal_is_made_as_az_makes_one_and_signs_in() {
    let directory = Directory::new().await;
    assert_eq!(directory.get("/servicePrincipals?$filter=displayName eq 'robot'").await["value"], json!([]));
    assert_eq!(directory.get("/applications?$filter=startswith(displayName,'robot')").await["value"], json!([]));
    let application = directory.post("/applications", json!({ "displayName": "robot", "keyCredentials": [] })).await;
    assert_eq!(application["passwordCredentials"], json!([]));
    let path = format!("/applications/{}", application["id"].as_str().unwrap());
    let wanted = json!({ "passwordCredential": {
        "displayName": "rbac", "startDateTime": "2026-11-22T06:00:00Z", "endDateTime": "2027-11-22T06:00:00Z" } });
    let password = directory.post(&format!("{path}/addPassword"), wanted).await;
    let secret = password["secretText"].as_str().unwrap();
    assert_eq!(password["endDateTime"], "2027-11-22T06:00:00Z");
    let service_principal =
        directory.post("/servicePrincipals", json!({ "appId": application["appId"], "accountEnabled": true })).await;
    assert_eq!(service_principal["appId"], application["appId"]);
    assert_ne!(service_principal["id"], application["id"]);

    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", application["appId"].as_str().unwrap()),
        ("client_secret", secret),
        ("scope", &format!("{ORIGIN}/.default")),
    ];
    let token = directory.fixture.post("/adfs/oauth2/v2.0/token", &fields).await;
    assert_eq!(token.status, StatusCode::OK, "{}", token.text);

    let shown = directory.get(&path).await;
    assert_eq!(shown["passwordCredentials"][0]["displayName"], "rbac");
    assert!(!shown.to_string().contains(secret), "a secret is shown once");
    let removal = json!({ "keyId": password["keyId"] });
    assert_eq!(
        directory.call("POST", &format!("{path}/removePassword"), removal.clone()).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        directory.call("POST", &format!("{path}/removePassword"), removal).await.status,
        StatusCode::BAD_REQUEST
    );
    let refused = directory.fixture.post("/adfs/oauth2/v2.0/token", &fields).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_service_principal_is_found_by_all_its_names() {
    let directory = Directory::new().await;
    let ids = directory.fixture.ids;
    for path in [
        format!("/servicePrincipals?$filter=servicePrincipalNames/any(c:c eq '{}')", ids.client_id),
        format!("/servicePrincipals?$filter=appId eq '{}'", ids.client_id),
        "/servicePrincipals?$filter=displayName eq 'bootstrap'".to_owned(),
        format!("/servicePrincipals?$filter=id eq '{}'", ids.client_object_id),
    ] {
        assert_eq!(directory.get(&path).await["value"][0]["id"], json!(ids.client_object_id), "{path}");
    }
    for path in [
        format!("/servicePrincipals/{}", ids.client_object_id),
        format!("/servicePrincipals(appId='{}')", ids.client_id),
        format!("//servicePrincipals/{}/", ids.client_object_id),
    ] {
        assert_eq!(directory.get(&path).await["appId"], json!(ids.client_id), "{path}");
    }
    assert_eq!(directory.get(&format!("/applications/{}", ids.client_id)).await["appId"], json!(ids.client_id));
    let unknown = directory.call("GET", "/applications/00000000-0000-0000-0000-000000000001", Value::Null).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_application_may_have_certificates_beside_each_other() {
    let directory = Directory::new().await;
    let path = format!("/applications/{}", directory.fixture.ids.client_id);
    let key = |name: &str| {
        let certified = rsa_certificate(name);
        json!({ "type": "AsymmetricX509Cert", "usage": "Verify", "displayName": name, "key": certified })
    };
    let patch = async |keys: Value| directory.call("PATCH", &path, json!({ "keyCredentials": keys })).await;
    assert_eq!(patch(json!([key("first")])).await.status, StatusCode::NO_CONTENT);
    let kept = directory.get(&path).await["keyCredentials"][0].clone();
    assert_eq!(kept["key"], Value::Null);
    assert_eq!(kept["customKeyIdentifier"].as_str().unwrap().len(), 40);
    // `--append` sends back what was shown, with one more.
    assert_eq!(patch(json!([kept, key("second")])).await.status, StatusCode::NO_CONTENT);
    let names = |shown: &Value| -> Vec<String> {
        let keys = shown["keyCredentials"].as_array().unwrap();
        let mut names: Vec<_> = keys.iter().map(|key| key["displayName"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&directory.get(&path).await), ["first", "second"]);
    assert_eq!(
        patch(json!([{ "type": "AsymmetricX509Cert", "key": "bm90IGEgY2VydA==" }])).await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(names(&directory.get(&path).await), ["first", "second"], "a refused key leaves the old ones");
    assert_eq!(patch(json!([])).await.status, StatusCode::NO_CONTENT);
    assert!(names(&directory.get(&path).await).is_empty());
}

#[tokio::test]
async fn federated_credentials_of_an_application() {
    let directory = Directory::new().await;
    let path = format!("/applications/{}/federatedIdentityCredentials", directory.fixture.ids.client_id);
    let good = json!({
        "name": "pipeline",
        "issuer": "https://token.actions.example",
        "subject": "repo:owner/name:ref:refs/heads/main",
        "audiences": ["api://AzureADTokenExchange"],
    });
    let made = directory.post(&path, good.clone()).await;
    assert_eq!((&made["name"], &made["audiences"]), (&good["name"], &good["audiences"]));
    assert_eq!(directory.call("POST", &path, good.clone()).await.status, StatusCode::BAD_REQUEST, "the name is taken");
    for (name, value) in [
        ("name", json!("a b")),
        ("issuer", json!("http://x")),
        ("audiences", json!(["a", "b"])),
        ("subject", json!("")),
    ] {
        let mut body = good.clone();
        body["name"] = json!("other");
        body[name] = value;
        assert_eq!(directory.call("POST", &path, body).await.status, StatusCode::BAD_REQUEST, "{name}");
    }
    assert_eq!(directory.get(&path).await["value"].as_array().unwrap().len(), 1);
    assert_eq!(directory.get(&format!("{path}/pipeline")).await["id"], made["id"]);
    let update = json!({ "subject": "repo:owner/name:ref:refs/heads/next" });
    let updated = directory.call("PATCH", &format!("{path}/pipeline"), update.clone()).await;
    assert_eq!(updated.status, StatusCode::NO_CONTENT, "{}", updated.text);
    let shown = directory.get(&format!("{path}/pipeline")).await;
    assert_eq!((&shown["subject"], &shown["issuer"]), (&update["subject"], &good["issuer"]));
    assert_eq!(directory.get(&path).await["value"].as_array().unwrap().len(), 1, "one took the place of the other");
    let renamed = directory.call("PATCH", &format!("{path}/pipeline"), json!({ "name": "other" })).await;
    assert_eq!(renamed.status, StatusCode::BAD_REQUEST);
    assert_eq!(directory.call("DELETE", &format!("{path}/pipeline"), Value::Null).await.status, StatusCode::NO_CONTENT);
    assert_eq!(directory.get(&path).await["value"], json!([]));
}

#[tokio::test]
async fn objects_by_their_ids_carry_their_type() {
    let directory = Directory::new().await;
    let ids = directory.fixture.ids;
    let asked = json!({ "ids": [ids.client_object_id, ids.admin_object_id, TENANT, "nonsense"],
        "types": ["user", "group", "servicePrincipal", "directoryObjectPartnerReference"] });
    let found = directory.post("/directoryObjects/getByIds", asked).await;
    let types: Vec<_> =
        found["value"].as_array().unwrap().iter().map(|object| object["@odata.type"].as_str().unwrap()).collect();
    assert_eq!(types, ["#microsoft.graph.servicePrincipal", "#microsoft.graph.user"]);
    let one = directory.get(&format!("/directoryObjects/{}", ids.admin_object_id)).await;
    assert_eq!(one["userPrincipalName"], ADMIN);
}

#[tokio::test]
async fn lists_come_in_pages_that_follow_each_other() {
    let directory = Directory::new().await;
    for number in 0..5 {
        directory.post("/groups", json!({ "displayName": format!("group {number}") })).await;
    }
    let mut path = "/groups?$top=2&$filter=startswith(displayName,'group')".to_owned();
    let mut names = Vec::new();
    for _ in 0..10 {
        let page = directory.get(&path).await;
        names.extend(page["value"].as_array().unwrap().iter().map(|group| group["displayName"].to_string()));
        let Some(next) = page["@odata.nextLink"].as_str() else { break };
        path = next.strip_prefix(&format!("{ORIGIN}/graph/v1.0")).unwrap().to_owned();
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 5);
    let bad = directory.call("GET", "/groups?$top=0", Value::Null).await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    let bad = directory.call("GET", "/groups?$skiptoken=nonsense", Value::Null).await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_filter_that_nothing_satisfies_reads_no_more_than_a_part_of_the_directory() {
    let directory = Directory::new().await;
    let identities = directory.fixture.identity.directory();
    for hundred in 0..21 {
        let new = |number: u128| {
            let id = Uuid::from_u128((hundred * 100 + number) << 8);
            identities.managed_identity_changes(id, Uuid::new_v4(), "i", &format!("/i/{hundred}/{number}"))
        };
        directory.fixture.commit((0..100).flat_map(new).collect()).await;
    }
    let page = directory.get("/servicePrincipals?$filter=startswith(displayName,'zzz')").await;
    assert_eq!(page["value"], json!([]));
    let next = page["@odata.nextLink"].as_str().unwrap().strip_prefix(&format!("{ORIGIN}/graph/v1.0")).unwrap();
    let last = directory.get(next).await;
    assert_eq!((&last["value"], &last["@odata.nextLink"]), (&json!([]), &Value::Null));
}

#[tokio::test]
async fn select_leaves_the_rest_out() {
    let directory = Directory::new().await;
    let user = directory.get(&format!("/users/{ADMIN}?$select=id,displayName")).await;
    let names: Vec<_> = user.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["@odata.context", "id", "displayName"]);
}

#[tokio::test]
async fn the_tenant_and_unknown_addresses() {
    let directory = Directory::new().await;
    assert_eq!(directory.get("/organization").await["value"][0]["id"], json!(TENANT));
    assert_eq!(directory.get("/domains").await["value"][0]["id"], "bastide.localhost");
    for (method, path) in [("GET", "/nonsense"), ("PUT", "/users"), ("GET", "/users/x/y/z"), ("POST", "/me")] {
        let answer = directory.call(method, path, Value::Null).await;
        assert!(
            answer.status == StatusCode::NOT_FOUND && !code(&answer).is_empty(),
            "{method} {path}: {}",
            answer.text
        );
    }
    let me = directory.call("GET", "/me", Value::Null).await;
    assert_eq!(me.status, StatusCode::BAD_REQUEST, "a client is nobody in particular");
    let search = directory.call("GET", "/users?$search=x", Value::Null).await;
    assert_eq!(search.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_identity_of_a_resource_is_only_looked_at() {
    let directory = Directory::new().await;
    let (object_id, client_id) = (Uuid::from_u128(7), Uuid::from_u128(8));
    let resource = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i";
    let changes = directory.fixture.identity.directory().managed_identity_changes(object_id, client_id, "i", resource);
    directory.fixture.commit(changes).await;
    let path = format!("/servicePrincipals/{object_id}");
    let shown = directory.get(&path).await;
    assert_eq!(
        (&shown["servicePrincipalType"], &shown["alternativeNames"]),
        (&json!("ManagedIdentity"), &json!([resource]))
    );
    assert_eq!(directory.call("DELETE", &path, Value::Null).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(directory.call("POST", &format!("{path}/addPassword"), json!({})).await.status, StatusCode::BAD_REQUEST);
    let application = directory.call("GET", &format!("/applications/{client_id}"), Value::Null).await;
    assert_eq!(application.status, StatusCode::NOT_FOUND);
}

/// A certificate with an RSA key, as base64 of its DER.
fn rsa_certificate(name: &str) -> String {
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let parameters = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    STANDARD.encode(parameters.self_signed(&key).unwrap().der())
}
