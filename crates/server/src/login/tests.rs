use axum::body::Body;
use axum::http::{Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use serde_json::{Value, json};
use uuid::Uuid;

use super::fixture::{ADMIN, Answer, Fixture, ORIGIN, TENANT, form_request, get, send};

const AZ: &str = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";
const REDIRECT: &str = "http://localhost:8400";
/// RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

#[tokio::test]
async fn both_families_describe_themselves() {
    let fixture = Fixture::new().await;
    let upper = TENANT.to_string().to_ascii_uppercase();
    for path in [
        "/adfs".to_owned(),
        format!("/{TENANT}/v2.0"),
        format!("/{upper}/v2.0"),
        "/organizations/v2.0".into(),
        "/common/v2.0".into(),
    ] {
        let answer = send(&fixture.login(), get(&format!("{path}/.well-known/openid-configuration"))).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        let document = answer.json();
        for endpoint in [
            "authorization_endpoint",
            "token_endpoint",
            "device_authorization_endpoint",
            "jwks_uri",
            "end_session_endpoint",
        ] {
            let url = document[endpoint].as_str().unwrap();
            let path = url.strip_prefix(ORIGIN).unwrap_or_else(|| panic!("{endpoint}: {url}"));
            let found = send(&fixture.login(), get(path)).await;
            assert_ne!(found.status, StatusCode::NOT_FOUND, "{endpoint} is promised at {path}");
        }
        let keys =
            send(&fixture.login(), get(document["jwks_uri"].as_str().unwrap().strip_prefix(ORIGIN).unwrap())).await;
        assert!(!keys.json()["keys"].as_array().unwrap().is_empty());
    }
}

#[tokio::test]
async fn endpoints_are_on_the_origin_that_was_asked_and_never_on_an_unknown_one() {
    let fixture = Fixture::new().await;
    for (host, origin) in [("127.0.0.1:8443", "https://127.0.0.1:8443"), ("evil.example", ORIGIN)] {
        let request = Request::get("/adfs/.well-known/openid-configuration").header("host", host).body(Body::empty());
        let answer = send(&fixture.login(), request.unwrap()).await;
        assert!(answer.json()["token_endpoint"].as_str().unwrap().starts_with(origin), "{host}");
        assert!(!answer.text.contains("evil"));
    }
}

#[tokio::test]
async fn another_tenant_is_refused_in_every_place() {
    let fixture = Fixture::new().await;
    for tenant in ["6f2c9e51-0000-4000-8000-000000000000", "consumers", "example.org", "%00", "x%22%3E%3Cscript%3E"] {
        let paths = ["v2.0/.well-known/openid-configuration", "discovery/v2.0/keys", "oauth2/v2.0/logout"];
        for path in paths {
            let answer = send(&fixture.login(), get(&format!("/{tenant}/{path}"))).await;
            refusal(&answer, 400, "invalid_tenant", 90_002);
        }
        for path in ["oauth2/v2.0/token", "oauth2/token", "oauth2/v2.0/devicecode"] {
            refusal(&fixture.post(&format!("/{tenant}/{path}"), &[]).await, 400, "invalid_tenant", 90_002);
        }
        let page = send(&fixture.login(), get(&format!("/{tenant}/oauth2/v2.0/authorize"))).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST);
        assert!(!page.text.contains("<script"), "{}", page.text);
    }
}

#[tokio::test]
async fn a_secret_buys_a_token_that_nobody_may_keep() {
    let fixture = Fixture::new().await;
    let answer = fixture.client_credentials(ORIGIN).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!((answer.header("cache-control"), answer.header("pragma")), ("no-store", "no-cache"));
    let principal = fixture.identity.authenticate(answer.json()["access_token"].as_str().unwrap()).await.unwrap();
    assert_eq!(principal.object_id, fixture.ids.client_object_id);
}

#[tokio::test]
async fn the_old_form_with_resource_works_too() {
    let fixture = Fixture::new().await;
    let client_id = fixture.ids.client_id.to_string();
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", &client_id),
        ("client_secret", fixture.secrets.client_secret.expose()),
        ("resource", ORIGIN),
    ];
    let answer = fixture.post(&format!("/{TENANT}/oauth2/token"), &fields).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
}

#[tokio::test]
async fn a_wrong_secret_is_refused_as_msal_expects_and_not_repeated() {
    let fixture = Fixture::new().await;
    let (client_id, scope) = (fixture.ids.client_id.to_string(), format!("{ORIGIN}/.default"));
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", &client_id),
        ("client_secret", "wr0ng"),
        ("scope", &scope),
    ];
    let answer = fixture.post("/adfs/oauth2/v2.0/token", &fields).await;
    refusal(&answer, 401, "invalid_client", 7_000_215);
    assert!(!answer.text.contains("wr0ng"));
}

#[tokio::test]
async fn a_form_that_is_none_gets_a_refusal_and_no_500() {
    let fixture = Fixture::new().await;
    let post = |content_type: &'static str, body: Vec<u8>| {
        Request::post("/adfs/oauth2/v2.0/token").header("content-type", content_type).body(Body::from(body)).unwrap()
    };
    let form = "application/x-www-form-urlencoded";
    let cases = [
        ("application/json", b"{}".to_vec(), 400),
        ("", Vec::new(), 400),
        (form, Vec::new(), 400),
        (form, b"grant_type=%ff".to_vec(), 400),
        (form, b"grant_type=a&grant_type=b".to_vec(), 400),
        (form, b"\0\0\0".to_vec(), 400),
        (form, [b"grant_type=".as_slice(), &vec![b'x'; 100_000]].concat(), 413),
    ];
    for (content_type, body, status) in cases {
        let answer = send(&fixture.login(), post(content_type, body)).await;
        assert_eq!(answer.status.as_u16(), status, "{content_type}: {}", answer.text);
        assert!(answer.json()["error"].is_string());
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    let page = send(&fixture.login(), get("/adfs/oauth2/v2.0/token")).await;
    assert_eq!(page.status, StatusCode::METHOD_NOT_ALLOWED);
}

// The browser.

/// A person's browser in front of the sign-in page.
struct Browser {
    fixture: Fixture,
    path: String,
    cookie: String,
    csrf: String,
    page: Answer,
}

impl Browser {
    async fn open(fixture: Fixture, path: &str) -> Self {
        let page = send(&fixture.login(), get(path)).await;
        let cookie = page.header("set-cookie").split(';').next().unwrap().to_owned();
        let csrf = hidden(&page.text, "csrf").unwrap_or_default();
        Self { fixture, path: path.to_owned(), cookie, csrf, page }
    }

    async fn sign_in(&self, password: &str) -> Answer {
        self.submit(&[("csrf", &self.csrf), ("username", ADMIN), ("password", password)]).await
    }

    async fn submit(&self, fields: &[(&str, &str)]) -> Answer {
        let mut request = form_request(&self.path, fields);
        request.headers_mut().insert("cookie", self.cookie.parse().unwrap());
        request.headers_mut().insert("origin", ORIGIN.parse().unwrap());
        send(&self.fixture.login(), request).await
    }

    fn password(&self) -> &str {
        self.fixture.secrets.admin_password.expose()
    }
}

fn authorize_path(changes: &[(&str, &str)]) -> String {
    let scope = format!("{ORIGIN}/.default offline_access openid profile");
    let mut fields = vec![
        ("client_id", AZ),
        ("response_type", "code"),
        ("response_mode", "form_post"),
        ("redirect_uri", REDIRECT),
        ("scope", &scope),
        ("state", "the state & more"),
        ("nonce", "the nonce"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("prompt", "select_account"),
    ];
    fields.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    fields.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    format!("/adfs/oauth2/v2.0/authorize?{query}")
}

fn hidden(html: &str, name: &str) -> Option<String> {
    let (_, rest) = html.split_once(&format!("name=\"{name}\" value=\""))?;
    Some(rest.split_once('"')?.0.to_owned())
}

#[tokio::test]
async fn a_person_signs_in_and_the_code_comes_back_as_a_form() {
    let browser = Browser::open(Fixture::new().await, &authorize_path(&[])).await;
    assert_eq!(browser.page.status, StatusCode::OK, "{}", browser.page.text);
    assert!(browser.page.header("content-security-policy").contains("form-action 'self' http://localhost:8400;"));
    let cookie = browser.page.header("set-cookie");
    assert!(cookie.starts_with("__Host-") && cookie.contains("; Secure; HttpOnly; SameSite=Lax"), "{cookie}");
    for words in ["Microsoft Azure CLI", "manage the resources", "stay signed in", "http://localhost:8400/"] {
        assert!(browser.page.text.contains(words), "{words}");
    }

    let back = browser.sign_in(browser.password()).await;
    assert_eq!(back.status, StatusCode::OK);
    assert!(back.text.contains("action=\"http://localhost:8400\""), "{}", back.text);
    assert!(!back.text.contains(browser.password()));
    assert_eq!(hidden(&back.text, "state").unwrap(), "the state &amp; more");
    let code = hidden(&back.text, "code").unwrap();
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", AZ),
        ("code", &code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
    ];
    let answer = browser.fixture.post("/adfs/oauth2/v2.0/token", &fields).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let document = answer.json();
    assert_eq!(claims(&document["id_token"])["nonce"], "the nonce");
    assert!(document["refresh_token"].is_string());

    let refresh = [
        ("grant_type", "refresh_token"),
        ("client_id", AZ),
        ("refresh_token", document["refresh_token"].as_str().unwrap()),
    ];
    assert_eq!(browser.fixture.post("/adfs/oauth2/v2.0/token", &refresh).await.status, StatusCode::OK);
    refusal(&browser.fixture.post("/adfs/oauth2/v2.0/token", &fields).await, 400, "invalid_grant", 70_000);
}

#[tokio::test]
async fn a_query_answer_is_a_redirect_that_does_not_repeat_the_password() {
    let browser = Browser::open(Fixture::new().await, &authorize_path(&[("response_mode", "query")])).await;
    let back = browser.sign_in(browser.password()).await;
    assert_eq!(back.status, StatusCode::SEE_OTHER);
    let location = back.header("location");
    assert!(location.starts_with("http://localhost:8400/?code="), "{location}");
    assert!(location.ends_with("&state=the+state+%26+more"), "{location}");
}

#[tokio::test]
async fn a_wrong_password_gets_the_page_again_and_too_many_wait() {
    let browser = Browser::open(Fixture::new().await, &authorize_path(&[])).await;
    for _ in 0..10 {
        let again = browser.sign_in("wrong <password>").await;
        assert_eq!(again.status, StatusCode::UNAUTHORIZED);
        assert!(again.text.contains("role=\"alert\"") && again.text.contains("type=\"password\""));
        assert!(!again.text.contains("wrong &lt;password") && again.text.contains(ADMIN));
    }
    let wait = browser.sign_in(browser.password()).await;
    assert_eq!(wait.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(hidden(&wait.text, "code").is_none() && !wait.header("retry-after").is_empty());
    browser.fixture.clock.advance(SignedDuration::from_mins(16));
    assert!(hidden(&browser.sign_in(browser.password()).await.text, "code").is_some());
}

#[tokio::test]
async fn a_form_from_elsewhere_is_not_looked_at() {
    let browser = Browser::open(Fixture::new().await, &authorize_path(&[])).await;
    let fields = [("csrf", browser.csrf.as_str()), ("username", ADMIN), ("password", browser.password())];
    let mut foreign = form_request(&browser.path, &fields);
    foreign.headers_mut().insert("cookie", browser.cookie.parse().unwrap());
    foreign.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    let without_cookie = form_request(&browser.path, &fields);
    for request in [foreign, without_cookie] {
        let answer = send(&browser.fixture.login(), request).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert!(hidden(&answer.text, "code").is_none());
    }
    let without_token = browser.submit(&[("username", ADMIN), ("password", browser.password())]).await;
    assert_eq!(without_token.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn nobody_is_sent_to_an_address_that_is_not_the_clients() {
    let fixture = Fixture::new().await;
    for redirect in [
        "https://evil.example/",
        "http://localhost.evil.example/",
        "http://localhost@evil.example/",
        "javascript:alert(1)",
        "//evil.example",
        "http://localhost:8400/#x",
        "http://localhost:8400\\@evil.example",
        "",
    ] {
        for mode in ["form_post", "query"] {
            let path = authorize_path(&[("redirect_uri", redirect), ("response_mode", mode)]);
            let page = send(&fixture.login(), get(&path)).await;
            assert_eq!(page.status, StatusCode::BAD_REQUEST, "{redirect}");
            assert!(page.header("location").is_empty() && !page.text.contains("<form"), "{redirect}: {}", page.text);
        }
    }
}

#[tokio::test]
async fn a_known_client_hears_what_is_wrong_and_a_stranger_does_not() {
    let fixture = Fixture::new().await;
    for change in [
        ("code_challenge", ""),
        ("code_challenge_method", "plain"),
        ("response_type", "token"),
        ("scope", "https://evil.example/.default"),
    ] {
        let page = send(&fixture.login(), get(&authorize_path(&[change]))).await;
        assert!(hidden(&page.text, "error").is_some() && !page.text.contains("password"), "{change:?}: {}", page.text);
        assert_eq!(hidden(&page.text, "state").unwrap(), "the state &amp; more");
    }
    for change in
        [("client_id", ""), ("client_id", "6f2c9e51-0000-4000-8000-000000000000"), ("response_mode", "fragment")]
    {
        let page = send(&fixture.login(), get(&authorize_path(&[change]))).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{change:?}");
        assert!(!page.text.contains("<form"), "{change:?}: {}", page.text);
    }
    let silent = send(&fixture.login(), get(&authorize_path(&[("prompt", "none"), ("response_mode", "query")]))).await;
    assert!(silent.header("location").starts_with("http://localhost:8400/?error=login_required"));
}

#[tokio::test]
async fn what_a_request_says_is_never_markup() {
    let attack = "\"><script>alert(1)</script>";
    let path = authorize_path(&[("state", attack), ("login_hint", attack), ("scope", &format!("{ORIGIN}/{attack}"))]);
    let browser = Browser::open(Fixture::new().await, &path).await;
    assert!(!browser.page.text.contains("<script>"), "{}", browser.page.text);
    let back = browser.sign_in(browser.password()).await;
    assert!(!back.text.contains("<script>"), "{}", back.text);
}

// The device page.

async fn begin(fixture: &Fixture) -> Value {
    let scope = format!("{ORIGIN}/.default offline_access openid profile");
    let answer = fixture.post("/adfs/oauth2/v2.0/devicecode", &[("client_id", AZ), ("scope", &scope)]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json()
}

async fn poll(fixture: &Fixture, device: &Value) -> Answer {
    fixture.clock.advance(SignedDuration::from_secs(6));
    let device_code = device["device_code"].as_str().unwrap();
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    let fields = [("grant_type", grant), ("client_id", AZ), ("device_code", device_code), ("code", device_code)];
    fixture.post("/adfs/oauth2/v2.0/token", &fields).await
}

/// A page and the form after it must meet the same desk, which keeps the tickets.
async fn decide(fixture: &Fixture, user_code: &str, decision: &str) -> Answer {
    let router = fixture.login();
    let page = send(&router, get("/devicelogin")).await;
    let cookie = page.header("set-cookie").split(';').next().unwrap().to_owned();
    let csrf = hidden(&page.text, "csrf").unwrap();
    let submit = async |fields: &[(&str, &str)]| {
        let mut request = form_request("/devicelogin", fields);
        request.headers_mut().insert("cookie", cookie.parse().unwrap());
        send(&router, request).await
    };
    let password = fixture.secrets.admin_password.expose();
    let fields = [("csrf", csrf.as_str()), ("user_code", user_code), ("username", ADMIN), ("password", password)];
    let approval = submit(&fields).await;
    let Some(ticket) = hidden(&approval.text, "ticket") else { return approval };
    assert!(approval.text.contains("Microsoft Azure CLI") && approval.text.contains(ADMIN), "{}", approval.text);
    let decided = submit(&[("csrf", &csrf), ("ticket", &ticket), ("decision", decision)]).await;
    let replay = submit(&[("csrf", &csrf), ("ticket", &ticket), ("decision", decision)]).await;
    assert!(replay.text.contains("Please sign in again"), "a ticket works once");
    decided
}

#[tokio::test]
async fn a_person_lets_a_device_in() {
    let fixture = Fixture::new().await;
    let device = begin(&fixture).await;
    assert_eq!(device["verification_uri"], format!("{ORIGIN}/devicelogin"));
    refusal(&poll(&fixture, &device).await, 400, "authorization_pending", 70_016);
    let done = decide(&fixture, device["user_code"].as_str().unwrap(), "approve").await;
    assert!(done.text.contains("The device is signed in"), "{}", done.text);
    let answer = poll(&fixture, &device).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let principal = fixture.identity.authenticate(answer.json()["access_token"].as_str().unwrap()).await.unwrap();
    assert_eq!(principal.object_id, fixture.ids.admin_object_id);
}

#[tokio::test]
async fn whatever_is_not_a_clear_yes_is_a_no() {
    for decision in ["deny", "", "APPROVE"] {
        let fixture = Fixture::new().await;
        let device = begin(&fixture).await;
        decide(&fixture, device["user_code"].as_str().unwrap(), decision).await;
        refusal(&poll(&fixture, &device).await, 400, "authorization_declined", 70_018);
    }
}

#[tokio::test]
async fn codes_cannot_be_guessed_fast() {
    let fixture = Fixture::new().await;
    let device = begin(&fixture).await;
    let router_shows = decide(&fixture, "AAA-AAA-AAA", "approve").await;
    assert_eq!(router_shows.status, StatusCode::BAD_REQUEST);
    assert!(router_shows.text.contains("This code is not valid"), "{}", router_shows.text);
    let mut last = StatusCode::BAD_REQUEST;
    for _ in 0..12 {
        last = decide(&fixture, "AAA-AAA-AAA", "approve").await.status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    let right = decide(&fixture, device["user_code"].as_str().unwrap(), "approve").await;
    assert_eq!(right.status, StatusCode::TOO_MANY_REQUESTS, "the right code has to wait too");
}

#[tokio::test]
async fn a_code_in_a_link_is_not_filled_in() {
    let page = send(&Fixture::new().await.login(), get("/devicelogin?user_code=BCD-FGH-JKL&code=BCD-FGH-JKL")).await;
    assert!(!page.text.contains("BCD"));
}

// Machines.

struct Machine {
    fixture: Fixture,
    secret: String,
    client_id: Uuid,
}

impl Machine {
    async fn new() -> Self {
        let fixture = Fixture::new().await;
        let (object_id, client_id) = (Uuid::from_u128(7), Uuid::from_u128(8));
        let directory = fixture.identity.directory();
        fixture.commit(directory.managed_identity_changes(object_id, client_id, "i", "/subscriptions/s/i")).await;
        let secret = directory.add_identity_endpoint(object_id, vec![object_id]).await.unwrap();
        let secret = secret.expose().to_owned();
        Self { fixture, secret, client_id }
    }

    async fn ask(&self, query: &str, headers: &[(&'static str, &str)]) -> Answer {
        let mut request = get(&format!("/msi/token?{query}"));
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        send(&self.fixture.login(), request).await
    }
}

#[tokio::test]
async fn a_machine_gets_the_token_of_its_identity_in_either_protocol() {
    let machine = Machine::new().await;
    let resource = format!("resource={ORIGIN}");
    for (version, header, more) in [
        ("2019-08-01", "x-identity-header", String::new()),
        ("2017-09-01", "secret", format!("&clientid={}", machine.client_id)),
        ("2019-08-01", "x-identity-header", format!("&client_id={}", machine.client_id)),
    ] {
        let answer =
            machine.ask(&format!("api-version={version}&{resource}{more}"), &[(header, &machine.secret)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        assert_eq!(answer.header("cache-control"), "no-store");
        let document = answer.json();
        for field in ["access_token", "expires_in", "expires_on", "not_before", "resource", "token_type", "client_id"] {
            assert!(document[field].is_string(), "{field}: the SDKs read strings");
        }
        assert_eq!(claims(&document["access_token"])["tid"], json!(TENANT));
    }
}

#[tokio::test]
async fn nobody_else_gets_it() {
    let machine = Machine::new().await;
    let query = format!("api-version=2019-08-01&resource={ORIGIN}");
    let secret = machine.secret.as_str();
    let refused = [
        (query.as_str(), vec![], 400),
        (query.as_str(), vec![("x-identity-header", "")], 400),
        (query.as_str(), vec![("x-identity-header", "wrong")], 401),
        (query.as_str(), vec![("secret", secret)], 400),
        (query.as_str(), vec![("x-identity-header", secret), ("x-forwarded-for", "10.0.0.1")], 400),
        (query.as_str(), vec![("x-identity-header", secret), ("x-identity-header", "other")], 400),
        ("resource=x", vec![("x-identity-header", secret)], 400),
        ("api-version=2019-08-01&resource=https://evil.example", vec![("x-identity-header", secret)], 400),
    ];
    for (query, headers, status) in refused {
        let answer = machine.ask(query, &headers).await;
        assert_eq!(answer.status.as_u16(), status, "{query} {}", answer.text);
        assert!(answer.json()["error_description"].as_str().unwrap().len() > 20);
        assert!(!answer.text.contains(secret), "a refusal repeats the secret");
    }
}

#[tokio::test]
async fn the_pages_dress_comes_from_us() {
    let fixture = Fixture::new().await;
    for (path, media_type) in [("/login/style.css", "text/css"), ("/login/continue.js", "text/javascript")] {
        let asset = send(&fixture.login(), get(path)).await;
        assert_eq!(asset.status, StatusCode::OK);
        assert!(asset.header("content-type").starts_with(media_type));
        assert_eq!(asset.header("x-content-type-options"), "nosniff");
    }
    let out =
        send(&fixture.login(), get("/adfs/oauth2/v2.0/logout?post_logout_redirect_uri=https://evil.example")).await;
    assert_eq!(out.status, StatusCode::OK);
    assert!(out.header("location").is_empty() && !out.text.contains("evil"));
}

/// `{"error","error_description","error_codes"}`, which az turns into its own message.
fn refusal(answer: &Answer, status: u16, error: &str, number: u32) {
    let document = answer.json();
    assert_eq!((answer.status.as_u16(), document["error"].as_str().unwrap()), (status, error), "{}", answer.text);
    assert!(
        document["error_description"].as_str().unwrap().starts_with(&format!("AADSTS{number}: ")),
        "{}",
        answer.text
    );
    assert_eq!(document["error_codes"], json!([number]));
    assert_eq!(answer.header("cache-control"), "no-store");
}

fn claims(token: &Value) -> Value {
    let payload = token.as_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
