use std::sync::Arc;

use bastide_plan::AddressFilter;
use bastide_plan::hub_plan::{Endpoint, HubPlan, Mode, PortRange, PrefixRule, Target};

use super::*;
use crate::resolver::tests::{House, address, plan, zone};

const SITE: [u8; 4] = [198, 18, 0, 80];

/// The plan of the resolver's tests, with a rule for another port, service tags, and an endpoint that works.
fn full(mode: Mode) -> HubPlan {
    let mut plan = plan(mode);
    plan.names.push(NameRule {
        rule: RuleName("git".into()),
        pattern: "git.example.net".parse().unwrap(),
        ports: vec![22, 443],
    });
    plan.prefixes =
        vec![tag("monitor", Action::Allow, "203.0.113.0/24"), tag("hole", Action::Deny, "203.0.113.128/25")];
    let target = Target::External { host: "10.0.0.9".into(), port: 5432, host_allowed: false };
    plan.endpoints.push(Endpoint {
        rule: RuleName("database".into()),
        names: vec![Name::parse("db.internal.net").unwrap()],
        address: [100, 127, 255, 2].into(),
        ports: vec![5432],
        target: Some(target),
    });
    plan
}

fn tag(rule: &str, action: Action, prefix: &str) -> PrefixRule {
    PrefixRule {
        rule: RuleName(rule.into()),
        action,
        protocol: Protocol::Tcp,
        prefixes: vec![prefix.parse().unwrap()],
        ports: vec![PortRange { first: 443, last: 443 }],
    }
}

/// The same rule for another port.
fn on(port: u16, rule: PrefixRule) -> PrefixRule {
    PrefixRule { ports: vec![PortRange { first: port, last: port }], ..rule }
}

async fn house(mode: Mode) -> House {
    let records = vec![
        address("exact.org", 60, SITE),
        address("inside.wild.org", 60, [10, 0, 0, 1]),
        address("denied.wild.org", 60, [203, 0, 113, 200]),
    ];
    House::new(full(mode), zone(records)).await
}

impl House {
    fn explain(&self, to: &str, port: Option<u16>) -> Explanation {
        self.explain_from(None, to, port)
    }

    fn explain_from(&self, compute: Option<&str>, to: &str, port: Option<u16>) -> Explanation {
        let question = Question { compute: compute.map(Into::into), to: to.into(), port };
        explain(&self.view.load().unwrap(), &self.resolver, &question)
    }
}

/// Asserts verdict, rule and reason of many questions.
fn assert_says(house: &House, cases: &[(&str, u16, bool, &str, &str)]) {
    for (to, port, allowed, rule, reason) in cases {
        let explanation = house.explain(to, Some(*port));
        let said = explanation.rule.as_ref().map(ToString::to_string).unwrap_or_default();
        assert_eq!(
            (explanation.allowed, said.as_str(), explanation.reason.as_str()),
            (*allowed, *rule, *reason),
            "{to}"
        );
    }
}

#[tokio::test]
async fn names_in_approved_mode() {
    let house = house(Mode::ApprovedOutbound).await;
    assert_says(
        &house,
        &[
            ("Exact.org.", 443, true, "exact", "Rule 'exact' approves 'exact.org' for ports 80 and 443."),
            ("a.b.wild.org", 80, true, "wild", "Rule 'wild' approves '*.wild.org' for ports 80 and 443."),
            ("git.example.net", 22, true, "git", "Rule 'git' approves 'git.example.net' for ports 22 and 443."),
            ("exact.org", 22, false, "exact", "Rule 'exact' approves 'exact.org' for ports 80 and 443 only."),
            (
                "evil.com",
                443,
                false,
                "",
                "No rule of hub 'research' approves 'evil.com'; add an FQDN rule for 'evil.com' to hub 'research'.",
            ),
            (
                "db.internal.net",
                5432,
                true,
                "database",
                "'db.internal.net' is a private endpoint of the hub, at 100.127.255.2.",
            ),
            (
                "db.internal.net",
                443,
                false,
                "database",
                "'db.internal.net' is a private endpoint of the hub, for port 5432 only.",
            ),
            (
                "lake.dfs.core.windows.net",
                443,
                false,
                "lake",
                "'lake.dfs.core.windows.net' is a private endpoint of the hub, and no service stands behind it yet.",
            ),
            (
                "api.bastide.localhost",
                8443,
                true,
                "",
                "'api.bastide.localhost' is a service of Bastide that every compute may reach.",
            ),
            (
                "api.bastide.localhost",
                443,
                false,
                "",
                "'api.bastide.localhost' is a service of Bastide, for port 8443 only.",
            ),
        ],
    );
}

#[tokio::test]
async fn what_to_add_is_said_in_a_form_that_can_be_added() {
    let house = house(Mode::ApprovedOutbound).await;
    let suggestion = |to: &str, port| {
        let suggestion = house.explain(to, port).suggestion?;
        Some((suggestion.rule_type, suggestion.destination, suggestion.port))
    };
    let fqdn = |name: &str, port| Some(("FQDN".to_owned(), name.to_owned(), port));
    assert_eq!(suggestion("Evil.com", None), fqdn("evil.com", None));
    assert_eq!(suggestion("evil.com", Some(22)), fqdn("evil.com", Some(22)));
    assert_eq!(suggestion("exact.org", Some(22)), fqdn("exact.org", Some(22)));
    let tag = Some(("ServiceTag".to_owned(), "198.18.7.7/32".to_owned(), Some(22)));
    assert_eq!(suggestion("198.18.7.7", Some(22)), tag);
    for to in ["exact.org", "pypi", "x.blob.core.windows.net", "10.0.0.1", "::1", "100.127.0.9", "203.0.113.200"] {
        assert_eq!(suggestion(to, None), None, "{to}");
    }
}

#[tokio::test]
async fn what_the_resolver_was_told_counts() {
    let house = house(Mode::ApprovedOutbound).await;
    assert!(house.explain("inside.wild.org", None).allowed, "nobody has asked yet");
    for name in ["exact.org", "inside.wild.org", "denied.wild.org", "missing.wild.org"] {
        house.ask(name, hickory_proto::rr::RecordType::A).await;
    }
    assert_eq!(house.explain("exact.org", None).addresses, [Ipv4Addr::from(SITE)]);
    let said = "Rule 'wild' approves '*.wild.org' for ports 80 and 443.";
    assert_says(
        &house,
        &[
            (
                "inside.wild.org",
                443,
                false,
                "wild",
                &format!("{said} But it leads to 10.0.0.1, a private address; only a private endpoint reaches that."),
            ),
            (
                "denied.wild.org",
                443,
                false,
                "hole",
                &format!("{said} But it leads to 203.0.113.200, which rule 'hole' denies."),
            ),
            ("denied.wild.org", 80, true, "wild", said),
            ("missing.wild.org", 443, true, "wild", &format!("{said} But the name does not exist.")),
            (
                "198.18.0.80",
                443,
                false,
                "",
                "198.18.0.80 is approved only for connections that show the name 'exact.org'; connect by that name.",
            ),
        ],
    );
}

#[tokio::test]
async fn where_a_name_leads_counts_as_it_does_for_the_kernel() {
    let mut plan = full(Mode::ApprovedOutbound);
    plan.prefixes.extend([
        on(8443, tag("site", Action::Allow, "198.18.0.80/32")),
        on(80, tag("pages", Action::Allow, "198.18.0.80/32")),
    ]);
    let house =
        House::new(plan, zone(vec![address("exact.org", 60, SITE), address("git.example.net", 60, SITE)])).await;
    let only = "Rule 'exact' approves 'exact.org' for ports 80 and 443 only.";
    assert_says(&house, &[("exact.org", 8443, false, "exact", only), ("exact.org", 22, false, "exact", only)]);
    house.ask("exact.org", hickory_proto::rr::RecordType::A).await;
    let unnamed = "198.18.0.80 is approved only for connections that show the name 'exact.org'; connect by that name.";
    assert_says(
        &house,
        &[
            ("exact.org", 8443, true, "site", "Rule 'site' approves 198.18.0.80, to which 'exact.org' leads."),
            ("exact.org", 80, true, "pages", "Rule 'pages' approves 198.18.0.80, to which 'exact.org' leads."),
            ("exact.org", 443, true, "exact", "Rule 'exact' approves 'exact.org' for ports 80 and 443."),
            ("exact.org", 22, false, "exact", only),
            ("198.18.0.80", 443, false, "", unnamed),
        ],
    );
    // A port beside the web's is opened for the address as well: protocols are spoken there that show no name.
    assert!(!house.explain("198.18.0.80", Some(22)).allowed);
    house.ask("git.example.net", hickory_proto::rr::RecordType::A).await;
    let found = "Rule 'git' approves port 22 of 'git.example.net', which was found at 198.18.0.80. A connection that shows \
                 another name is refused.";
    assert_says(&house, &[("198.18.0.80", 22, true, "git", found)]);
    assert!(!house.explain("198.18.0.80", Some(443)).allowed);
}

#[tokio::test]
async fn addresses_in_approved_mode() {
    let house = house(Mode::ApprovedOutbound).await;
    let no_endpoint = "only a private endpoint reaches such an address.";
    assert_says(
        &house,
        &[
            ("203.0.113.1", 443, true, "monitor", "Rule 'monitor' approves 203.0.113.1."),
            ("203.0.113.200", 443, false, "hole", "Rule 'hole' denies 203.0.113.200."),
            (
                "169.254.169.254",
                80,
                false,
                "",
                &format!("169.254.169.254 is a link-local address, where metadata services live; {no_endpoint}"),
            ),
            ("100.127.0.1", 53, true, "", "100.127.0.1 is the gateway of hub 'research', where its resolver answers."),
            ("100.127.0.1", 8443, true, "", "100.127.0.1 is an address of hub 'research' that computes may reach."),
            (
                "100.127.255.2",
                5432,
                true,
                "database",
                "100.127.255.2 is an address of hub 'research' that computes may reach.",
            ),
            (
                "100.127.0.77",
                22,
                false,
                "",
                "100.127.0.77 is inside hub 'research', whose computes do not reach each other; exchange data through a \
                 service that both may reach.",
            ),
            (
                "198.18.0.53",
                53,
                false,
                "",
                "Port 53 is for questions about names, which only the hub's resolver answers; ask 100.127.0.1.",
            ),
            ("[2001:db8::1]", 443, false, "", "Hubs have no IPv6; name the host, or give an IPv4 address."),
        ],
    );
}

#[tokio::test]
async fn what_the_kernel_refuses_no_rule_approves() {
    let mut plan = full(Mode::ApprovedOutbound);
    plan.names.push(NameRule {
        rule: RuleName("dot".into()),
        pattern: "dot.example.net".parse().unwrap(),
        ports: vec![853],
    });
    let everywhere = tag("all", Action::Allow, "0.0.0.0/0");
    plan.prefixes.push(PrefixRule { ports: Vec::new(), protocol: Protocol::Any, ..everywhere });
    let house = House::new(plan, zone(Vec::new())).await;
    for (to, port) in [
        ("dot.example.net", 853),
        ("198.18.0.53", 53),
        ("198.18.0.53", 853),
        ("10.0.0.1", 443),
        ("169.254.169.254", 80),
        ("127.0.0.1", 443),
        ("100.127.0.77", 443),
    ] {
        let explanation = house.explain(to, Some(port));
        assert!(!explanation.allowed && explanation.rule.is_none(), "{to}:{port}: {explanation:?}");
    }
    assert!(house.explain("198.18.0.53", Some(54)).allowed, "and what it lets through, the rule approves");
}

#[tokio::test]
async fn where_the_internet_is_open() {
    for mode in [Mode::InternetOutbound, Mode::Disabled] {
        let house = house(mode).await;
        let open = "Isolation of hub 'research' leaves the internet open.";
        assert_says(&house, &[("any.net", 22, true, "", open), ("198.18.9.9", 53, true, "", open)]);
        for to in ["10.0.0.1", "127.0.0.1", "169.254.169.254", "printer.local", "100.127.0.77"] {
            assert!(!house.explain(to, None).allowed, "{to}");
        }
        assert_eq!(house.explain("203.0.113.200", None).rule, Some(RuleName("hole".into())));
    }
}

#[tokio::test]
async fn what_is_not_understood_is_said() {
    let house = house(Mode::ApprovedOutbound).await;
    let reason = house.explain_from(Some("prod"), "exact.org", None).reason;
    assert_eq!(reason, "Hub 'research' has no compute 'prod'; it has batch, dev.");
    assert!(house.explain_from(Some("DEV"), "exact.org", None).allowed);
    for (to, part) in [("", "empty"), ("https://exact.org/", "does not belong"), ("127.1", "write it in four parts")] {
        let explanation = house.explain(to, None);
        assert!(!explanation.allowed && explanation.reason.contains(part), "{to}: {}", explanation.reason);
    }
}

#[test]
fn packets_are_refused_in_words() {
    let view = View::new(full(Mode::ApprovedOutbound), Vec::new(), AddressFilter::default());
    let name = Name::parse("exact.org").unwrap();
    let words = |kind, port| {
        let missing = missing_address(&view, kind, SITE.into(), port, Some(&name));
        sentence(&missing.reason, &missing.advice)
    };
    for (kind, port, expected) in [
        (
            FlowKind::Udp,
            443,
            "QUIC (UDP 443) to 198.18.0.80 is not let through by name; use TCP, as clients do by themselves.",
        ),
        (
            FlowKind::Tcp,
            22,
            "No rule of hub 'research' approves TCP port 22 to 198.18.0.80 (exact.org); add a ServiceTag rule with the address \
             prefix 198.18.0.80/32 for TCP port 22 to hub 'research'.",
        ),
        (
            FlowKind::Icmp,
            0,
            "No rule of hub 'research' approves ICMP to 198.18.0.80 (exact.org); add a ServiceTag rule with the address prefix \
             198.18.0.80/32 for ICMP to hub 'research'.",
        ),
        (FlowKind::Other, 0, "Only TCP, UDP and ICMP pass, and this to 198.18.0.80 is neither; use one of them."),
    ] {
        assert_eq!(words(kind, port), expected);
    }
}

#[tokio::test]
async fn a_name_with_a_filter_that_has_changed() {
    let house = house(Mode::ApprovedOutbound).await;
    house.ask("exact.org", hickory_proto::rr::RecordType::A).await;
    let filter = AddressFilter { own: vec!["198.18.0.0/16".parse().unwrap()], ..AddressFilter::default() };
    house.view.replace(Arc::new(View::new(full(Mode::ApprovedOutbound), Vec::new(), filter)));
    let explanation = house.explain("exact.org", None);
    assert!(!explanation.allowed && explanation.reason.contains("an address of this host or of a hub"));
}
