//! The networks of hubs: what a node reports is what the wire says, and nothing is said without it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use std::time::Duration;

use bastide_plan::explanation::{Explanation, Suggestion};
use bastide_plan::flow::{FlowKind, FlowRecord, FlowVerdict};
use bastide_plan::hub_plan::RuleName;
use bastide_server::{Enforcement, NetworkSettings};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::agent::{Agent, pypi};
use support::{House, Options};

const API: &str = "api-version=2026-11-01";

struct Scene {
    house: House,
    agent: Agent,
    hub: String,
}

impl Scene {
    /// An approved-only hub with one rule, its network not provisioned yet.
    async fn set() -> Self {
        let agent = Agent::start();
        let (house, hub) = agent.approved_house(pypi()).await;
        Self { house, agent, hub }
    }

    async fn network(&self) -> Value {
        self.house.get(&self.hub).await.body["properties"]["managedNetwork"].clone()
    }

    async fn rule(&self, name: &str) -> Value {
        self.house.get(&format!("{}/outboundRules/{name}", self.hub)).await.body["properties"].clone()
    }

    async fn provision(&self) -> Value {
        let done =
            self.house.call(Method::POST, &format!("{}/provisionManagedNetwork", self.hub), Some(json!({}))).await;
        assert_eq!(done.status, StatusCode::OK, "{done:?}");
        done.body
    }

    /// Waits for what another task brings about.
    async fn until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..200 {
            let network = self.network().await;
            if wanted(&network) {
                return network;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it never came: {}", self.network().await)
    }
}

fn is_active(network: &Value) -> bool {
    network["status"]["status"] == "Active"
}

#[tokio::test]
async fn a_network_is_active_when_the_node_says_so_and_not_before() {
    let scene = Scene::set().await;
    assert!(!is_active(&scene.network().await), "nobody has provisioned it");
    assert!(scene.agent.told.lock().unwrap().plans.is_empty());
    assert_eq!(scene.provision().await["status"], "Active", "the answer waits for the kernel (J7)");
    let network = scene.network().await;
    assert!(is_active(&network), "{network}");
    assert_eq!(network["bastide"], json!({"enforcement": "kernel"}));
    assert_eq!(network["outboundRules"]["pypi"]["status"], "Active");
    assert_eq!(scene.rule("pypi").await["status"], "Active");
    // A tag whose addresses nobody knows stands for nothing and says so.
    let tag = scene.rule("__SYS_ST_AzureResourceManager_TCP").await;
    assert_eq!(tag["status"], "Inactive");
    assert!(tag["errorInformation"].as_str().unwrap().contains("AzureResourceManager"), "{tag}");
}

#[tokio::test]
async fn the_put_of_a_rule_is_answered_when_the_node_has_it() {
    let scene = Scene::set().await;
    scene.provision().await;
    let rule = json!({"properties": {"type": "FQDN", "destination": "*.anaconda.org"}});
    let made = scene.house.put(&format!("{}/outboundRules/conda", scene.hub), rule).await;
    assert_eq!(made.body["properties"]["status"], "Active", "{made:?}");
    let names: Vec<String> = scene.agent.last_plan().names.iter().map(|rule| rule.pattern.to_string()).collect();
    assert_eq!(names, ["*.anaconda.org", "pypi.org"]);
    scene.house.call(Method::DELETE, &format!("{}/outboundRules/conda", scene.hub), None).await;
    assert_eq!(scene.agent.last_plan().names.len(), 1, "the answer to a deletion waits, too");
}

#[tokio::test]
async fn what_cannot_be_enforced_is_said_with_its_reason() {
    let scene = Scene::set().await;
    scene.agent.told.lock().unwrap().broken.insert(RuleName("pypi".into()), "no port is free".into());
    scene.provision().await;
    let rule = scene.rule("pypi").await;
    assert_eq!((&rule["status"], &rule["errorInformation"]), (&json!("Inactive"), &json!("no port is free")));
    assert!(is_active(&scene.network().await));
    scene.agent.told.lock().unwrap().shut = Some("nft is missing".into());
    scene
        .house
        .put(
            &format!("{}/outboundRules/more", scene.hub),
            json!({"properties": {"type": "FQDN", "destination": "a.example"}}),
        )
        .await;
    let network = scene.network().await;
    assert!(!is_active(&network), "{network}");
    assert_eq!(network["bastide"]["reason"], "nft is missing");
}

#[tokio::test]
async fn nothing_is_claimed_while_the_agent_is_away_and_everything_is_told_anew_when_it_is_back() {
    let scene = Scene::set().await;
    scene.provision().await;
    scene.agent.leave();
    let network = scene.until(|network| !is_active(network)).await;
    assert!(network["bastide"]["reason"].as_str().unwrap().contains("does not answer"), "{network}");
    scene.agent.told.lock().unwrap().plans.clear();
    scene.agent.come_back();
    scene.until(is_active).await;
    assert_eq!(scene.agent.last_plan().names.len(), 1);
}

#[tokio::test]
async fn a_network_goes_with_its_hub_and_a_later_server_has_the_greater_fence() {
    let mut scene = Scene::set().await;
    scene.provision().await;
    scene.house.kill().await;
    scene.house.start_again();
    scene.until(is_active).await;
    let fences = scene.agent.told.lock().unwrap().fences.clone();
    assert!(fences.len() == 2 && fences[0] < fences[1], "{fences:?}");
    scene.house.call(Method::DELETE, &scene.hub, None).await;
    assert_eq!(scene.agent.told.lock().unwrap().retained.as_deref(), Some([].as_slice()));
}

#[tokio::test]
async fn parallel_writes_of_rules_all_reach_the_node() {
    let scene = Scene::set().await;
    scene.provision().await;
    let scene = &scene;
    let put = |number: usize| {
        let body = json!({"properties": {"type": "FQDN", "destination": format!("host-{number}.example.org")}});
        let path = format!("{}/outboundRules/rule-{number:02}", scene.hub);
        async move { scene.house.put(&path, body).await }
    };
    let answers = futures_util::future::join_all((0..32).map(put)).await;
    for answer in &answers {
        assert_eq!(answer.body["properties"]["status"], "Active", "{answer:?}");
    }
    assert_eq!(scene.agent.last_plan().names.len(), 33);
}

#[tokio::test]
async fn a_simulated_network_is_never_called_active() {
    let network = NetworkSettings { enforcement: Enforcement::Simulated(None), ..NetworkSettings::default() };
    let house = House::found_with(Options { network, ..Options::default() }).await;
    house.make_group("rg").await;
    let hub = house.hub("rg", "hub");
    let network = json!({"isolationMode": "AllowOnlyApprovedOutbound"});
    let properties = json!({"managedNetwork": network, "provisionNetworkNow": true});
    house.put(&hub, json!({"location": "westeurope", "kind": "hub", "properties": properties})).await;
    let network = house.get(&hub).await.body["properties"]["managedNetwork"].clone();
    assert!(!is_active(&network));
    assert_eq!(network["bastide"]["enforcement"], "simulated", "{network}");
}

fn flow(at: i64, name: &str, verdict: FlowVerdict) -> FlowRecord {
    FlowRecord {
        at,
        duration: 1,
        compute: Some("dev".into()),
        project: Some("churn".into()),
        source: [100, 127, 0, 2].into(),
        kind: FlowKind::Tls,
        name: Some(name.into()),
        address: Some([198, 18, 0, 1].into()),
        port: 443,
        verdict,
        rule: (verdict == FlowVerdict::Allowed).then(|| RuleName("pypi".into())),
        reason: None,
        sent: 10,
        received: 20,
        count: 1,
    }
}

#[tokio::test]
async fn the_flow_log_is_filtered_paged_exported_and_counted() {
    let scene = Scene::set().await;
    scene.provision().await;
    let flows = (0..5).map(|at| flow(at, "pypi.org", FlowVerdict::Allowed));
    scene.agent.told.lock().unwrap().flows = flows.chain([flow(9, "evil.com", FlowVerdict::Denied)]).collect();
    let path = format!("{}/bastide/flows", scene.hub);
    let page = scene.house.get(&format!("{path}?$top=2&verdict=allowed&name=pypi.org")).await;
    let times =
        |page: &Value| page["value"].as_array().unwrap().iter().map(|flow| flow["at"].clone()).collect::<Vec<_>>();
    assert_eq!(times(&page.body), [3, 4], "{page:?}");
    let next = page.body["nextLink"].as_str().unwrap();
    let page = scene.house.get(&next[next.find("/subscriptions").unwrap()..]).await;
    assert_eq!(times(&page.body), [1, 2], "{page:?}");
    for wrong in ["verdict=maybe", "kind=tape", "port=70000", "since=yesterday", "$top=0", "format=xml", "after=x"] {
        let refused = scene.house.get(&format!("{path}?{wrong}")).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{wrong}: {refused:?}");
    }
    let lines = scene.house.get(&format!("{path}?format=ocsf")).await;
    let lines: Vec<Value> =
        lines.body.as_str().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[5]["class_uid"], &lines[5]["action"]), (6, &json!(4001), &json!("Denied")));
    let metrics = scene.house.get(&format!("{}/bastide/metrics", scene.hub)).await;
    let expected = "bastide_network_flows_total{hub=\"hub\",rule=\"pypi\",verdict=\"allowed\"} 3";
    assert!(metrics.body.as_str().unwrap().contains(expected), "{metrics:?}");
}

#[tokio::test]
async fn who_follows_the_flow_log_is_cut_off_with_the_right_to() {
    let scene = Scene::set().await;
    scene.provision().await;
    let (stranger, token) = scene.house.stranger().await;
    let role = scene.house.grant(stranger.object_id, READER).await;
    let path = format!("{}/bastide/flows?stream=true", scene.hub);
    let follow = scene.house.call_as(&token, Method::GET, &path, None, &[]);
    let happen = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        scene.agent.told.lock().unwrap().flows.push(flow(1, "pypi.org", FlowVerdict::Allowed));
        tokio::time::sleep(Duration::from_secs(2)).await;
        scene.house.revoke(&role).await;
        scene.agent.told.lock().unwrap().flows.push(flow(2, "secret.org", FlowVerdict::Allowed));
    };
    let (followed, ()) = tokio::join!(follow, happen);
    let text = followed.body.as_str().unwrap();
    assert_eq!(followed.header("content-type"), "text/event-stream");
    assert!(text.starts_with("id: 1\ndata: {") && text.contains("event: end"), "{text}");
    assert!(!text.contains("secret.org"), "{text}");
}

#[tokio::test]
async fn rules_that_somebody_has_in_mind_are_replayed_against_what_has_happened() {
    let scene = Scene::set().await;
    scene.provision().await;
    scene.agent.told.lock().unwrap().flows = vec![
        flow(1, "pypi.org", FlowVerdict::Allowed),
        flow(2, "pypi.org", FlowVerdict::Allowed),
        flow(3, "files.example.org", FlowVerdict::Denied),
        flow(4, "evil.com", FlowVerdict::Denied),
    ];
    let path = format!("{}/bastide/replay", scene.hub);
    let rules = json!({"files": {"type": "FQDN", "destination": "*.example.org"}});
    let replayed = scene.house.call(Method::POST, &path, Some(json!({"outboundRules": rules}))).await.body;
    assert_eq!(replayed["cut"][0]["to"], "pypi.org", "{replayed}");
    assert_eq!((&replayed["cut"][0]["count"], &replayed["cut"][0]["computes"]), (&json!(2), &json!(["dev"])));
    assert_eq!(
        (&replayed["opened"][0]["to"], &replayed["opened"][0]["rule"]),
        (&json!("files.example.org"), &json!("files"))
    );
    assert_eq!((&replayed["unchanged"], &replayed["examined"]), (&json!(1), &json!(4)));
    assert_eq!(scene.agent.last_plan().names.len(), 1, "nothing was changed by it");
    let wrong = json!({"outboundRules": {"files": {"type": "FQDN", "destination": "https://x"}}});
    assert_eq!(scene.house.call(Method::POST, &path, Some(wrong)).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_a_rule_out_of_force_names_is_explained_by_that_rule() {
    let scene = Scene::set().await;
    scene.provision().await;
    let put = async |name: &str, properties: Value| {
        let rule = format!("{}/outboundRules/{name}", scene.hub);
        let put = scene.house.put(&rule, json!({"properties": properties})).await;
        assert_eq!(put.status, StatusCode::OK, "{put:?}");
    };
    put("off", json!({"type": "FQDN", "destination": "*.off.example", "bastide": {"enabled": false}})).await;
    let ended = json!({"expiresOn": "2020-01-01T00:00:00Z", "ports": [9418]});
    put("ended", json!({"type": "FQDN", "destination": "git.example", "bastide": ended})).await;
    let range = json!({"addressPrefixes": ["198.51.100.0/24"], "protocol": "TCP", "portRanges": "22"});
    put("range", json!({"type": "ServiceTag", "destination": range, "bastide": {"enabled": false}})).await;
    let suggestion = |to: &str| Suggestion { rule_type: "FQDN".into(), destination: to.into(), port: None };
    let refused = |to: &str, rule: Option<&str>| Explanation {
        allowed: false,
        rule: rule.map(|rule| RuleName(rule.into())),
        reason: "No rule approves it.".into(),
        suggestion: rule.is_none().then(|| suggestion(to)),
        addresses: Vec::new(),
    };
    for to in ["a.off.example", "git.example", "198.51.100.7", "other.example"] {
        scene.agent.told.lock().unwrap().explained.insert(to.to_owned(), refused(to, None));
    }
    let explain =
        async |question: &str| scene.house.get(&format!("{}/bastide/explain?{API}&{question}", scene.hub)).await.body;
    for (question, rule, what_to_do) in [
        ("to=a.off.example", "off", "bastide.enabled"),
        ("to=git.example&port=9418", "ended", "later bastide.expiresOn"),
        ("to=198.51.100.7&port=22", "range", "bastide.enabled"),
    ] {
        let told = explain(question).await;
        assert_eq!((&told["allowed"], &told["notInForce"]["rule"]), (&json!(false), &json!(rule)), "{told}");
        let reason = told["reason"].as_str().unwrap();
        assert!(reason.contains(&format!("'{rule}'")) && reason.contains(what_to_do), "{reason}");
        assert!(told["suggestion"].is_null(), "another rule is not the way: {told}");
    }
    // What those rules do not speak of is explained as before.
    for question in ["to=other.example", "to=git.example&port=443", "to=198.51.100.7&port=23"] {
        let told = explain(question).await;
        assert!(told.get("notInForce").is_none() && told["suggestion"].is_object(), "{question}: {told}");
    }
    // A rule that decides, and is broken, says how.
    scene.agent.told.lock().unwrap().broken.insert(RuleName("pypi".into()), "It is broken. Mend it.".into());
    scene.agent.told.lock().unwrap().explained.insert("pypi.org".to_owned(), refused("pypi.org", Some("pypi")));
    put("more", json!({"type": "FQDN", "destination": "more.example"})).await;
    let told = explain("to=pypi.org").await;
    assert_eq!(told["reason"], "No rule approves it. It is broken. Mend it.", "{told}");
    let nowhere = scene.hub.replace("workspaces/hub", "workspaces/nowhere");
    for what in ["explain?to=pypi.org&", "flows?", "flows?format=jsonl&", "metrics?", "suggest?"] {
        let asked = scene.house.get(&format!("{nowhere}/bastide/{what}{API}")).await;
        assert_eq!(asked.status, StatusCode::NOT_FOUND, "{what} {asked:?}");
    }
    let port_zero = scene.house.get(&format!("{}/bastide/explain?{API}&to=pypi.org&port=0", scene.hub)).await;
    assert_eq!(port_zero.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_is_approved_meanwhile_is_not_suggested_again_and_names_of_rules_are_not_taken_twice() {
    let scene = Scene::set().await;
    scene.provision().await;
    let other = format!("{}/outboundRules/evil-com", scene.hub);
    let body = json!({"properties": {"type": "FQDN", "destination": "fine.example"}});
    assert_eq!(scene.house.put(&other, body).await.status, StatusCode::OK);
    scene.agent.told.lock().unwrap().flows =
        vec![flow(1, "pypi.org", FlowVerdict::Denied), flow(2, "evil.com", FlowVerdict::Denied)];
    let answer = scene.house.get(&format!("{}/bastide/suggest?{API}", scene.hub)).await.body;
    let suggested = answer["suggestions"].as_array().unwrap();
    assert_eq!((suggested.len(), &suggested[0]["name"]), (1, &json!("evil-com-2")), "{answer}");
    assert_eq!(suggested[0]["properties"]["destination"], "evil.com");
    let unclear = scene.house.get(&format!("{}/bastide/flows?{API}&denied=1", scene.hub)).await;
    assert_eq!(unclear.status, StatusCode::BAD_REQUEST, "what is let through is not shown for denied: {unclear:?}");
}

#[tokio::test]
async fn a_replay_keeps_what_the_hub_has_because_of_its_connections() {
    let scene = Scene::set().await;
    scene.provision().await;
    let group = scene.hub.split("/providers/").next().unwrap();
    let account = format!("{group}/providers/Microsoft.Storage/storageAccounts/lakehouse");
    let body = json!({"location": "westeurope", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"});
    assert!(scene.house.put(&account, body).await.status.is_success());
    let connection = json!({"category": "AzureBlob", "authType": "None", "target": account});
    let made = scene.house.put(&format!("{}/connections/lake", scene.hub), json!({"properties": connection})).await;
    assert!(made.status.is_success(), "{made:?}");
    let rules = scene.house.get(&format!("{}/outboundRules", scene.hub)).await.body["value"].clone();
    let dependency =
        rules.as_array().unwrap().iter().find(|rule| rule["properties"]["category"] == "Dependency").unwrap();
    let rule = RuleName(dependency["name"].as_str().unwrap().into());
    let relayed = FlowRecord {
        kind: FlowKind::Relay,
        rule: Some(rule),
        ..flow(1, "lakehouse.blob.bastide.localhost", FlowVerdict::Allowed)
    };
    scene.agent.told.lock().unwrap().flows = vec![relayed];
    let path = format!("{}/bastide/replay", scene.hub);
    let replayed = scene.house.call(Method::POST, &path, Some(json!({"outboundRules": {}}))).await.body;
    assert_eq!((&replayed["cut"], &replayed["unchanged"]), (&json!([]), &json!(1)), "nobody can remove it: {replayed}");
}

/// The built-in role Reader.
const READER: &str = "acdd72a7-3385-48ef-bd42-f606fba81ae7";

#[tokio::test]
async fn a_replay_knows_packs_ranges_that_count_as_internet_and_rules_that_have_ended() {
    let agent = Agent::start();
    let network = json!({"isolationMode": "AllowOnlyApprovedOutbound"});
    let internet = vec!["10.20.0.0/16".parse().unwrap()];
    let hub = json!({"managedNetwork": network, "provisionNetworkNow": true});
    let (house, hub) = agent.house_with(hub, internet).await;
    let pack = format!("/subscriptions/{}/providers/Bastide.Network/serviceTagPacks/own", house.subscription);
    let tags = json!({"values": [{"name": "Lan", "properties": {"addressPrefixes": ["10.20.0.0/24"]}}]});
    assert_eq!(house.put(&format!("{pack}?api-version=2026-11-01"), tags).await.status, StatusCode::CREATED);
    let to = |address: &str| FlowRecord {
        address: Some(address.parse().unwrap()),
        name: None,
        kind: FlowKind::Tcp,
        port: 5432,
        verdict: FlowVerdict::Denied,
        rule: None,
        ..flow(1, "", FlowVerdict::Denied)
    };
    agent.told.lock().unwrap().flows = vec![to("10.20.0.7"), to("10.30.0.7")];
    let by_tag = |tag: &str| {
        let destination = json!({"serviceTag": tag, "protocol": "TCP", "portRanges": "5432"});
        json!({"type": "ServiceTag", "destination": destination})
    };
    let wide = json!({"type": "ServiceTag", "destination": {"serviceTag": "", "protocol": "TCP", "portRanges": "5432",
        "addressPrefixes": ["10.30.0.0/24"]}});
    let replay = async |rules: Value| {
        house.call(Method::POST, &format!("{hub}/bastide/replay"), Some(json!({"outboundRules": rules}))).await.body
    };
    let replayed = replay(json!({"lan": by_tag("Lan"), "wide": wide})).await;
    let opened: Vec<&str> =
        replayed["opened"].as_array().unwrap().iter().map(|flow| flow["to"].as_str().unwrap()).collect();
    assert_eq!(
        opened,
        ["10.20.0.7"],
        "a private address is out of reach unless the operator says otherwise: {replayed}"
    );
    let mut ended = by_tag("Lan");
    ended["bastide"] = json!({"enabled": true, "expiresOn": "2026-11-22T09:00:00Z"});
    assert_eq!(replay(json!({"lan": ended})).await["opened"], json!([]), "a rule that has ended opens nothing");
}
