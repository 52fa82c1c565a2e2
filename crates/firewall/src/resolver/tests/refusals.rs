//! What is not answered, and what is said instead (egress.md rows 6, 13, 15 and 16).

use bastide_plan::flow::FlowVerdict;
use hickory_proto::rr::DNSClass;

use super::*;

#[tokio::test]
async fn an_unapproved_name_is_refused_at_once_and_nobody_is_asked() {
    let house = House::alone(plan(Mode::ApprovedOutbound)).await;
    let message = house.ask("Evil.example.com", RecordType::A).await;
    assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
    let advice = "add an FQDN rule for 'evil.example.com' to hub 'research'";
    assert_eq!(extended_error(&message), Some((15, advice.to_owned())));
    assert!(message.authorities[0].ttl <= 1, "a rule that is added works at once");
    assert!(house.asked().is_empty());

    let record = house.last_record();
    assert_eq!((record.verdict, record.compute.as_deref()), (FlowVerdict::Denied, Some("dev")));
    assert_eq!(record.name.as_deref(), Some("evil.example.com"));
    assert_eq!(
        record.reason.as_deref(),
        Some(
            "No rule of hub 'research' approves 'evil.example.com'; add an FQDN rule for 'evil.example.com' to hub 'research'."
        )
    );
}

#[tokio::test]
async fn look_alikes_and_neighbours_are_other_names() {
    let house = House::new(plan(Mode::ApprovedOutbound), zone(vec![address("exact.org", 60, SITE)])).await;
    for name in ["exact.org.evil.com", "a.exact.org", "xexact.org", "wild.org", "evilwild.org", "org"] {
        let message = house.ask(name, RecordType::A).await;
        assert_eq!(message.metadata.response_code, ResponseCode::NXDomain, "{name}");
    }
    assert!(house.asked().is_empty());
    assert_eq!(addresses(&house.ask("EXACT.Org", RecordType::A).await), [Ipv4Addr::from(SITE)]);
}

#[tokio::test]
async fn the_words_fit_the_case() {
    let house = House::alone(plan(Mode::ApprovedOutbound)).await;
    for (name, words) in [
        ("wild.org", "add an FQDN rule for 'wild.org' to hub 'research'"),
        ("pypi", "ask for the whole name of the host"),
        ("exact.org.corp.lan", "'exact.org' itself is approved"),
        ("other.blob.core.windows.net", "add a private endpoint for the storage account to hub 'research'"),
        ("80.0.18.198.in-addr.arpa", "ask for a name"),
    ] {
        let message = house.ask(name, RecordType::A).await;
        assert_eq!(message.metadata.response_code, ResponseCode::NXDomain, "{name}");
        assert_eq!(extended_error(&message).map(|(_, text)| text).as_deref(), Some(words), "{name}");
    }
    house.clock.advance(Duration::from_secs(2));
    house.ask("wild.org", RecordType::A).await;
    let reason = house.last_record().reason.unwrap();
    let begin = "Rule 'wild' of hub 'research' approves the names below 'wild.org', not that name itself; add";
    assert!(reason.starts_with(begin), "{reason}");
}

#[tokio::test]
async fn an_approved_name_opens_its_addresses_and_nothing_else() {
    let house = House::new(plan(Mode::ApprovedOutbound), zone(vec![address("exact.org", 60, SITE)])).await;
    for kind in [
        RecordType::AAAA,
        RecordType::HTTPS,
        RecordType::SVCB,
        RecordType::TXT,
        RecordType::MX,
        RecordType::NULL,
        RecordType::SRV,
        RecordType::NS,
        RecordType::Unknown(65_280),
    ] {
        let message = house.ask("exact.org", kind).await;
        assert_eq!(message.metadata.response_code, ResponseCode::NoError, "{kind}");
        assert!(message.answers.is_empty(), "{kind}");
    }
    assert!(house.asked().is_empty(), "no type is a way out");
}

#[tokio::test]
async fn what_no_stub_asks_is_turned_down() {
    let house = House::alone(plan(Mode::InternetOutbound)).await;
    for kind in [RecordType::ANY, RecordType::AXFR, RecordType::IXFR, RecordType::TSIG, RecordType::Unknown(250)] {
        let message = house.ask("exact.org", kind).await;
        assert_eq!(message.metadata.response_code, ResponseCode::Refused, "{kind}");
        assert_eq!(extended_error(&message).map(|(code, _)| code), Some(21));
    }
    let mut chaos = question("version.bind", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    let message = house.ask_from(DEV, &chaos).await.unwrap();
    assert_eq!(message.metadata.response_code, ResponseCode::Refused);

    let mut two = question("exact.org", RecordType::A);
    two.add_query(Query::query(spelled("evil.org"), RecordType::A));
    let message = house.ask_from(DEV, &two).await.unwrap();
    assert_eq!(message.metadata.response_code, ResponseCode::FormErr);
    assert!(house.asked().is_empty());
}

#[tokio::test]
async fn addresses_that_are_out_of_reach_are_not_given_out() {
    let house = House::new(
        plan(Mode::ApprovedOutbound),
        zone(vec![
            address("exact.org", 60, [169, 254, 169, 254]),
            address("mixed.wild.org", 60, [127, 0, 0, 1]),
            address("mixed.wild.org", 60, SITE),
            address("mixed.wild.org", 60, [10, 0, 0, 1]),
        ]),
    )
    .await;
    let message = house.ask("exact.org", RecordType::A).await;
    assert_eq!((message.metadata.response_code, addresses(&message)), (ResponseCode::NoError, vec![]));
    let (code, text) = extended_error(&message).unwrap();
    assert_eq!(code, 17);
    assert!(text.contains("169.254.169.254") && text.contains("metadata"), "{text}");
    let record = house.last_record();
    assert_eq!((record.verdict, record.rule), (FlowVerdict::Denied, Some(RuleName("exact".into()))));
    let name = Name::parse("exact.org").unwrap();
    assert!(house.resolver.told(&name).is_empty());
    assert!(house.resolver.addresses(&name, DEV).await.is_err(), "nor to the firewall");

    assert_eq!(addresses(&house.ask("mixed.wild.org", RecordType::A).await), [Ipv4Addr::from(SITE)]);
}

#[tokio::test]
async fn a_filter_that_changes_counts_at_once() {
    let house = House::new(plan(Mode::ApprovedOutbound), zone(vec![address("exact.org", 600, SITE)])).await;
    assert_eq!(addresses(&house.ask("exact.org", RecordType::A).await).len(), 1);
    let filter = AddressFilter { own: vec!["198.18.0.80/32".parse().unwrap()], ..AddressFilter::default() };
    house.view.replace(Arc::new(View::new(plan(Mode::ApprovedOutbound), Vec::new(), filter)));
    assert!(addresses(&house.ask("exact.org", RecordType::A).await).is_empty(), "what is remembered is filtered anew");
    assert!(house.resolver.addresses(&Name::parse("exact.org").unwrap(), DEV).await.is_err(), "so is what is pinned");
}

#[tokio::test]
async fn data_in_names_runs_into_bounds() {
    let house = House::new(plan(Mode::ApprovedOutbound), zone(vec![address("www.wild.org", 60, SITE)])).await;
    assert_eq!(addresses(&house.ask("www.wild.org", RecordType::A).await).len(), 1);

    let long = format!("{}.{}.wild.org", "a".repeat(60), "b".repeat(60));
    assert_eq!(house.ask(&long, RecordType::A).await.metadata.response_code, ResponseCode::Refused);
    let mut refused = 0;
    for number in 0..200 {
        let message = house.ask(&format!("data{number}.wild.org"), RecordType::A).await;
        refused += u32::from(message.metadata.response_code == ResponseCode::Refused);
    }
    assert_eq!(refused, 81, "120 new names, one of them www");
    assert_eq!(house.asked().len(), 120);
    let record = house.last_record();
    assert_eq!((record.verdict, record.rule), (FlowVerdict::Denied, Some(RuleName("wild".into()))));

    // A name that is known costs nothing, and another compute has a budget of its own.
    house.clock.advance(Duration::from_secs(90));
    assert_eq!(addresses(&house.ask("www.wild.org", RecordType::A).await).len(), 1);
    let batch = house.ask_from(BATCH, &question("www.wild.org", RecordType::A)).await.unwrap();
    assert_eq!(addresses(&batch).len(), 1);
    for number in 0..40 {
        let name = Name::parse(&format!("sni{number}.wild.org")).unwrap();
        assert!(house.resolver.addresses(&name, DEV).await.is_err(), "names in a ClientHello go the same way");
    }
    assert_eq!(house.asked().len(), 121 + 18, "90 s are worth 18 names");
}

#[tokio::test]
async fn where_the_internet_is_open_a_wildcard_bounds_nothing() {
    let house = House::new(plan(Mode::InternetOutbound), zone(Vec::new())).await;
    for number in 0..150 {
        let message = house.ask(&format!("n{number}.wild.org"), RecordType::A).await;
        assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
    }
    assert_eq!(house.asked().len(), 150);
}

#[tokio::test]
async fn only_computes_of_the_hub_are_answered_and_only_so_often() {
    let house = House::alone(plan(Mode::ApprovedOutbound)).await;
    let bytes = question("exact.org", RecordType::AAAA).to_vec().unwrap();
    let socket = UdpSocket::bind((STRANGER, 0)).await.unwrap();
    socket.send_to(&bytes, house.address).await.unwrap();
    let nothing = timeout(Duration::from_millis(100), socket.recv(&mut [0; 512])).await;
    assert!(nothing.is_err());
    assert_eq!(house.last_record().compute, None);

    for _ in 0..4000 {
        assert!(house.resolver.budgets.question(DEV, crate::clock::Clock::instant(&*house.clock)));
    }
    let socket = UdpSocket::bind((DEV, 0)).await.unwrap();
    socket.send_to(&bytes, house.address).await.unwrap();
    assert!(timeout(Duration::from_millis(100), socket.recv(&mut [0; 512])).await.is_err());
    assert!(house.last_record().reason.unwrap().contains("too many questions"));
    assert!(house.ask_from(BATCH, &question("exact.org", RecordType::AAAA)).await.is_some(), "others are answered");
}

#[tokio::test]
async fn before_the_first_plan_nobody_is_answered() {
    let house = House::alone(plan(Mode::InternetOutbound)).await;
    let (need, _needed) = mpsc::unbounded_channel();
    let nothing = Arc::new(CurrentView::default());
    let resolver = Resolver::new(nothing, Arc::clone(&house.log), house.clock.clone(), need);
    let (udp, _tcp) = both_on_one_port().await;
    let address = udp.local_addr().unwrap();
    tokio::spawn(resolver.serve_datagrams(udp));
    let socket = UdpSocket::bind((DEV, 0)).await.unwrap();
    socket.send_to(&question("exact.org", RecordType::A).to_vec().unwrap(), address).await.unwrap();
    assert!(timeout(Duration::from_millis(100), socket.recv(&mut [0; 512])).await.is_err());
}
