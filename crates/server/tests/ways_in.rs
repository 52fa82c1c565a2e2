//! The ways into a compute: whoever loses the right to be there is put out at once, whatever the way, and does not come back.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::ConnectInfo;
use bastide_identity::Principal;
use bastide_plan::hub_plan::ComputeId;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Method, Request, StatusCode};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use support::agent::{Agent, Inside};
use support::{Answer, House};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

#[tokio::test]
async fn a_role_that_is_taken_back_puts_out_whoever_had_it() {
    let scene = Scene::set().await;
    let visitors = scene.everybody_in(LOCAL).await;
    scene.house.revoke(&scene.assignment).await;
    for visitor in visitors {
        visitor.gets_put_out("does not have authorization").await;
    }
    scene.nobody_gets_in(LOCAL, 403).await;
}

#[tokio::test]
async fn a_token_that_expires_ends_what_was_opened_with_it() {
    let scene = Scene::set().await;
    let visitors = scene.everybody_in(LOCAL).await;
    scene.house.clock.advance(jiff::SignedDuration::from_hours(48));
    for visitor in visitors {
        visitor.gets_put_out("expired").await;
    }
    scene.nobody_gets_in(LOCAL, 401).await;
}

#[tokio::test]
async fn who_comes_while_the_agent_is_started_anew_waits_for_it() {
    let scene = Scene::set().await;
    scene.agent.leave();
    let back = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        scene.agent.come_back();
    };
    let (visitor, ()) = tokio::join!(scene.visit(Way::Exec, LOCAL), back);
    visitor.unwrap_or_else(|status| panic!("{status}")).talks().await;
}

/// The node does nothing in these: it is the server that puts people out, however long the node takes.
#[tokio::test]
async fn a_stop_a_restart_and_a_deletion_end_everything_before_the_node_has_done_anything() {
    for (action, reason, status) in [("stop", "is stopped", 409), ("restart", "started anew", 0), ("delete", "", 404)] {
        let scene = Scene::set().await;
        let visitors = scene.everybody_in(LOCAL).await;
        scene.agent.hold();
        let done = match action {
            "delete" => scene.call(Method::DELETE, "?underlyingResourceAction=Delete", None).await,
            action => scene.call(Method::POST, &format!("/{action}"), Some(json!({}))).await,
        };
        assert_eq!(done.status, StatusCode::ACCEPTED, "{done:?}");
        for visitor in visitors {
            visitor.gets_put_out(reason).await;
        }
        if status != 0 {
            scene.nobody_gets_in(LOCAL, status).await;
        }
    }
}

#[tokio::test]
async fn a_hub_that_closes_its_door_puts_out_whoever_came_from_outside_and_nobody_else() {
    let scene = Scene::set().await;
    let (outside, inside) = (scene.everybody_in(REMOTE).await, scene.everybody_in(LOCAL).await);
    scene.change_hub(json!({"publicNetworkAccess": "Disabled"})).await;
    for visitor in outside {
        visitor.gets_put_out("Public network access").await;
    }
    scene.nobody_gets_in(REMOTE, 403).await;
    // Nor by the other address of the same tunnel.
    let azures = scene.connect(&scene.azures_address(), &scene.token, Way::Tunnel, REMOTE).await;
    assert_eq!(azures.err(), Some(403));
    for mut visitor in inside {
        visitor.talks().await;
    }
    scene.everybody_in(LOCAL).await;
}

#[tokio::test]
async fn an_address_that_is_on_the_list_no_more_gets_put_out() {
    let scene = Scene::set().await;
    scene.change_hub(json!({"ipAllowlist": ["203.0.113.0/24"]})).await;
    let visitors = scene.everybody_in(REMOTE).await;
    scene.change_hub(json!({"ipAllowlist": ["198.51.100.0/24"]})).await;
    for visitor in visitors {
        visitor.gets_put_out("203.0.113.9").await;
    }
    scene.nobody_gets_in(REMOTE, 403).await;
}

#[tokio::test]
async fn single_sign_on_that_is_switched_off_closes_the_pages_and_leaves_the_shells() {
    let scene = Scene::set().await;
    let (page, mut shell) = (scene.visit(Way::Jupyter, LOCAL).await, scene.visit(Way::Exec, LOCAL).await);
    let switch = |on: bool| scene.call(Method::POST, "/enableSso", Some(json!({"enableSSO": on})));
    assert_eq!(switch(false).await.status, StatusCode::OK);
    page.unwrap().gets_put_out("").await;
    shell.as_mut().unwrap().talks().await;
    let refused = scene.page(&scene.token).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::FORBIDDEN, "SingleSignOnDisabled"));
    assert!(refused.body["error"]["message"].as_str().unwrap().contains("enable-sso"), "{refused:?}");
    // Back on it goes by the word of whom the instance is for, and of nobody else.
    let on = switch(true).await;
    assert_eq!((on.status, on.code()), (StatusCode::FORBIDDEN, "NotTheAssignedUser"));
    let body = Some(json!({"enableSSO": true}));
    let path = format!("{}/enableSso", scene.path);
    let on = scene.house.call_as(&scene.token, Method::POST, &path, body, &[]).await;
    assert_eq!(on.status, StatusCode::OK, "{on:?}");
    scene.visit(Way::Jupyter, LOCAL).await.unwrap().talks().await;
}

#[tokio::test]
async fn an_instance_made_for_somebody_else_with_a_script_is_signed_in_to_when_its_user_says_so() {
    let scene = Scene::set().await;
    let script = json!({"scripts": {"startupScript": {"scriptSource": "inline", "scriptData": "aWQK"}}});
    let mut body = instance(&scene, &scene.user);
    body["properties"]["properties"]["setupScripts"] = script;
    body["properties"]["properties"]["enableSSO"] = json!(true);
    let path = scene.path.replace("/mei", "/made");
    let made = scene.house.put(&path, body.clone()).await;
    assert_eq!(made.body["properties"]["properties"]["enableSSO"], false, "{made:?}");
    assert!(made.header("x-ms-bastide-warning").contains("enable-sso"), "{made:?}");
    // The same template again does not switch it on by and by; the user does.
    let again = scene.house.put(&path, body.clone()).await;
    assert_eq!(again.body["properties"]["properties"]["enableSSO"], false, "{again:?}");
    let on = json!({"enableSSO": true});
    let answer = scene.house.call_as(&scene.token, Method::POST, &format!("{path}/enableSso"), Some(on), &[]).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let again = scene.house.put(&path, body).await;
    assert_eq!(again.body["properties"]["properties"]["enableSSO"], true, "what the user has said stands: {again:?}");
}

#[tokio::test]
async fn the_tunnel_is_where_azures_clients_look_for_it_and_wants_a_token_and_a_websocket() {
    let scene = Scene::set().await;
    let address = scene.azures_address();
    let mut visitor = scene.connect(&address, &scene.token, Way::Tunnel, LOCAL).await.unwrap();
    visitor.talks().await;
    assert_eq!(scene.connect(&address, "nonsense", Way::Tunnel, LOCAL).await.err(), Some(401));
    let (_, stranger) = scene.house.stranger().await;
    assert_eq!(scene.connect(&address, &stranger, Way::Tunnel, LOCAL).await.err(), Some(403));
    let nobody = address.replace("mei-", "ada-");
    assert_eq!(scene.connect(&nobody, &scene.token, Way::Tunnel, LOCAL).await.err(), Some(404));
    let plain = scene.at_site("/nbip/v1.0/ws-tcp", &scene.token).await;
    assert_eq!((plain.status.as_u16(), plain.code()), (426, "UpgradeRequired"));
}

#[tokio::test]
async fn a_key_that_comes_with_the_connection_is_for_that_connection() {
    let scene = Scene::set().await;
    let address = scene.address(Way::Tunnel);
    let mut request = scene.request(&address, &scene.token);
    request.headers_mut().insert("x-bastide-ssh-key", KEY.parse().unwrap());
    let (_socket, inside) = tokio::join!(scene.shake_hands(request, LOCAL), scene.agent.wait_for_way(scene.compute));
    let bastide_plan::way_in::WayIn::Process(sshd) = inside.way else { panic!("no process: {:?}", inside.way) };
    assert_eq!(sshd.environment["BASTIDE_SSH_KEYS"], KEY);
    let mut request = scene.request(&address, &scene.token);
    request.headers_mut().insert("x-bastide-ssh-key", format!("command=\"id\" {KEY}").parse().unwrap());
    assert_eq!(status(scene.shake_hands(request, LOCAL).await), Some(400));
}

#[tokio::test]
async fn what_a_custom_service_would_be_is_kept_and_said_not_to_run() {
    let scene = Scene::set().await;
    let service = |name: &str| {
        json!({
            "name": name, "image": {"type": "docker", "reference": "registry.example/rstudio:1"},
            "endpoints": [{"name": "rstudio", "protocol": "http", "target": 8787, "published": 8787}],
        })
    };
    let set = scene.call(Method::POST, "/customServices", Some(json!([service("rstudio")]))).await;
    assert_eq!(set.status, StatusCode::OK, "{set:?}");
    let inner = scene.house.get(&scene.path).await.body["properties"]["properties"].clone();
    assert_eq!(inner["customServices"][0]["name"], "rstudio");
    let error = &inner["errors"][0]["error"];
    assert_eq!(error["code"], "CustomServiceNotRunning", "{inner}");
    assert!(error["message"].as_str().unwrap().contains("startup script"), "{error}");
    assert_eq!(inner["state"], "Running", "the instance does");
    let mut wrong = service("rstudio");
    wrong["endpoints"][0]["published"] = json!(0);
    for body in [json!([service("a"), service("a")]), json!([{"name": "a"}]), json!(["a"]), json!([wrong])] {
        let refused = scene.call(Method::POST, "/customServices", Some(body.clone())).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{body}: {refused:?}");
    }
}

/// A running instance that an administrator has made for somebody, who has the right to be in it by one assignment.
struct Scene {
    house: House,
    agent: Agent,
    hub: String,
    path: String,
    compute: ComputeId,
    /// The host name of its pages.
    site: String,
    user: Principal,
    token: String,
    assignment: String,
}

impl Scene {
    async fn set() -> Self {
        let agent = Agent::start();
        let (house, hub) = agent.house(json!({})).await;
        let (user, token) = house.stranger().await;
        let path = format!("{hub}/computes/mei");
        let assignment = house.grant_at(&hub, user.object_id, OPERATOR).await;
        let compute = ComputeId(uuid::Uuid::nil());
        let mut scene = Self { house, agent, hub, path, compute, site: String::new(), user, token, assignment };
        let made = scene.house.put(&scene.path, instance(&scene, &scene.user)).await;
        let ended = scene.house.wait(&made).await;
        assert_eq!(ended.body["status"], "Succeeded", "{made:?} {ended:?}");
        scene.compute = scene.agent.wait_for_instance("mei").await.compute;
        let shown = scene.house.get(&scene.path).await.body;
        let lab = shown["properties"]["properties"]["applications"][1]["endpointUri"].as_str().unwrap();
        scene.site.push_str(lab.strip_prefix("https://").unwrap().strip_suffix("/lab").unwrap());
        scene
    }

    async fn call(&self, method: Method, rest: &str, body: Option<Value>) -> Answer {
        self.house.call(method, &format!("{}{rest}", self.path), body).await
    }

    async fn change_hub(&self, properties: Value) {
        let changed = self.house.call(Method::PATCH, &self.hub, Some(json!({"properties": properties}))).await;
        assert!(changed.status.is_success(), "{changed:?}");
    }

    /// Somebody by each way.
    async fn everybody_in(&self, from: &str) -> Vec<Visitor> {
        let mut visitors = Vec::new();
        for way in WAYS {
            let mut visitor = self.visit(way, from).await.unwrap_or_else(|status| panic!("{way:?}: {status}"));
            visitor.talks().await;
            visitors.push(visitor);
        }
        visitors
    }

    async fn nobody_gets_in(&self, from: &str, expected: u16) {
        for way in WAYS {
            assert_eq!(self.visit(way, from).await.err(), Some(expected), "{way:?}");
        }
    }

    async fn visit(&self, way: Way, from: &str) -> Result<Visitor, u16> {
        self.connect(&self.address(way), &self.token, way, from).await
    }

    fn address(&self, way: Way) -> String {
        let api = format!("wss://localhost:8443{}/bastide", self.path);
        match way {
            Way::Exec => format!("{api}/exec?{}", support::API),
            Way::Tunnel => format!("{api}/ssh?{}", support::API),
            Way::Jupyter => format!("wss://{}/api/kernels/one/channels", self.site),
        }
    }

    fn azures_address(&self) -> String {
        format!("wss://{}/nbip/v1.0/ws-tcp", self.site)
    }

    /// A page of the instance, asked for by a program.
    async fn page(&self, token: &str) -> Answer {
        self.at_site("/lab", token).await
    }

    async fn at_site(&self, path: &str, token: &str) -> Answer {
        let request = Request::get(path).header("host", &self.site).header("authorization", format!("Bearer {token}"));
        self.house.send(request.body(Body::empty()).unwrap()).await
    }

    fn request(&self, address: &str, token: &str) -> Request<()> {
        let mut request = address.into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        request
    }

    async fn shake_hands(&self, request: Request<()>, from: &str) -> Result<WebSocketStream<DuplexStream>, Error> {
        let (near, far) = tokio::io::duplex(1 << 16);
        let peer: SocketAddr = from.parse().unwrap();
        let router = self.house.router.clone().layer(Extension(ConnectInfo(peer)));
        let serving = http1::Builder::new().serve_connection(TokioIo::new(far), TowerToHyperService::new(router));
        tokio::spawn(serving.with_upgrades());
        client_async(request, near).await.map(|(socket, _)| socket)
    }

    async fn connect(&self, address: &str, token: &str, way: Way, from: &str) -> Result<Visitor, u16> {
        let mut handshake = pin!(self.shake_hands(self.request(address, token), from));
        let (mut socket, inside) = if way == Way::Jupyter {
            // What runs in the compute answers the handshake, if it gets there.
            tokio::select! {
                refused = &mut handshake => return Err(status(refused).unwrap()),
                inside = self.agent.wait_for_way(self.compute) => {
                    let echo = tokio::spawn(echo(inside, way));
                    (handshake.await.unwrap(), Some(echo))
                }
            }
        } else {
            match handshake.await {
                Ok(socket) => (socket, None),
                refused => return Err(status(refused).unwrap()),
            }
        };
        if way == Way::Exec {
            socket.send(Message::text(json!({"command": ["cat"]}).to_string())).await.unwrap();
        }
        let echo = match inside {
            Some(echo) => echo,
            None => tokio::spawn(echo(self.agent.wait_for_way(self.compute).await, way)),
        };
        Ok(Visitor { way, socket, echo })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Exec,
    Tunnel,
    Jupyter,
}

/// Somebody in the instance, and what they have opened there: it sends back what it gets until it is ended.
struct Visitor {
    way: Way,
    socket: WebSocketStream<DuplexStream>,
    echo: JoinHandle<()>,
}

impl Visitor {
    async fn talks(&mut self) {
        let (said, heard): (&[u8], &[u8]) = match self.way {
            Way::Exec => (b"\x00word", b"\x01word"),
            Way::Tunnel | Way::Jupyter => (b"word", b"word"),
        };
        self.socket.send(Message::binary(said.to_vec())).await.unwrap();
        let answer = timeout(PATIENCE, self.socket.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(answer.into_data(), heard, "{:?}", self.way);
    }

    /// It ends at both sides, and says why where there is a way to.
    async fn gets_put_out(mut self, reason: &str) {
        let mut said = String::new();
        let ended = async {
            while let Some(Ok(message)) = self.socket.next().await {
                said.push_str(&String::from_utf8_lossy(&message.into_data()));
            }
        };
        timeout(PATIENCE, ended).await.unwrap_or_else(|_| panic!("{:?} is still in", self.way));
        timeout(PATIENCE, self.echo).await.unwrap_or_else(|_| panic!("what was opened inside goes on")).unwrap();
        // A page's own socket is not ours to say anything in.
        assert!(self.way == Way::Jupyter || said.contains(reason), "{:?}: {said}", self.way);
    }
}

/// What is at the other end, until that is closed.
async fn echo(mut inside: Inside, way: Way) {
    if way == Way::Jupyter {
        let mut socket = accept_async(inside.ends.remove(0)).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_binary() && socket.send(message).await.is_err() {
                return;
            }
        }
        return;
    }
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = inside.ends[0].read(&mut buffer).await {
        inside.ends[1].write_all(&buffer[..length]).await.unwrap();
    }
}

fn status<T>(handshake: Result<T, Error>) -> Option<u16> {
    match handshake {
        Err(Error::Http(answer)) => Some(answer.status().as_u16()),
        Err(other) => panic!("{other}"),
        Ok(_) => None,
    }
}

fn instance(scene: &Scene, user: &Principal) -> Value {
    let assigned = json!({"assignedUser": {"objectId": user.object_id, "tenantId": scene.house.tenant}});
    let inner = json!({"vmSize": "STANDARD_DS1_V2", "personalComputeInstanceSettings": assigned});
    json!({"location": "westeurope", "properties": {"computeType": "ComputeInstance", "properties": inner}})
}

const WAYS: [Way; 3] = [Way::Exec, Way::Tunnel, Way::Jupyter];

/// The compute operator of Azure Machine Learning.
const OPERATOR: &str = "e503ece1-11d0-4e8e-8e2c-7a6c3bf38815";

const LOCAL: &str = "127.0.0.1:50000";
const REMOTE: &str = "203.0.113.9:50000";

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGx7nYlq0hSXhY4T5S9vIu0M1b6nN9Wn3o6b3WZl1wQy mei@bastide";

const PATIENCE: Duration = Duration::from_secs(30);
