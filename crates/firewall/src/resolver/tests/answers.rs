//! What is answered.

use bastide_plan::flow::FlowVerdict;
use hickory_proto::rr::rdata::{MX, TXT};

use super::*;

#[tokio::test]
async fn addresses_come_with_their_aliases_and_are_pinned() {
    let records = vec![
        alias("exact.org", 300, "edge.cdn.net"),
        alias("edge.cdn.net", 120, "node.cdn.net"),
        address("node.cdn.net", 45, SITE),
    ];
    let house = House::new(plan(Mode::ApprovedOutbound), zone(records)).await;
    let message = house.ask("exact.org", RecordType::A).await;
    let kinds: Vec<_> = message.answers.iter().map(|record| (record.name.to_ascii(), record.record_type())).collect();
    assert_eq!(
        kinds,
        [
            ("exact.org.".to_owned(), RecordType::CNAME),
            ("edge.cdn.net.".to_owned(), RecordType::CNAME),
            ("node.cdn.net.".to_owned(), RecordType::A),
        ]
    );
    assert!(message.answers.iter().all(|record| record.ttl == 45), "all of it holds as long as its shortest part");
    assert!(message.metadata.recursion_available);

    let name = Name::parse("exact.org").unwrap();
    assert_eq!(house.resolver.told(&name), [Ipv4Addr::from(SITE)]);
    assert_eq!(house.resolver.addresses(&name, BATCH).await.unwrap(), [Ipv4Addr::from(SITE)]);
    assert_eq!(house.asked().len(), 1);
    let record = house.last_record();
    assert_eq!((record.verdict, record.address), (FlowVerdict::Allowed, Some(SITE.into())));
    assert_eq!((record.rule, record.port), (Some(RuleName("exact".into())), 53));
    assert!(record.sent > 20 && record.received > record.sent);

    // What the name is an alias of is not approved by that.
    let message = house.ask("node.cdn.net", RecordType::A).await;
    assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
    let alone = house.ask("exact.org", RecordType::CNAME).await;
    assert_eq!(alone.answers.len(), 1);
    assert_eq!(alone.answers[0].record_type(), RecordType::CNAME);
}

#[tokio::test]
async fn a_chain_that_is_cut_is_asked_on() {
    let house = House::new(plan(Mode::ApprovedOutbound), |asked, _| {
        let name = asked.queries[0].name.to_lowercase().to_ascii();
        Act::Send(vec![answer(
            asked,
            match name.as_str() {
                "exact.org." => vec![alias("exact.org", 300, "one.net")],
                "one.net." => vec![alias("one.net", 300, "two.net")],
                "two.net." => vec![address("two.net", 300, SITE)],
                // A chain without end.
                name => {
                    let name = name.trim_end_matches('.');
                    vec![alias(name, 300, &format!("x{name}"))]
                }
            },
        )])
    })
    .await;
    assert_eq!(addresses(&house.ask("exact.org", RecordType::A).await), [Ipv4Addr::from(SITE)]);
    assert_eq!(house.asked(), ["exact.org", "one.net", "two.net"]);

    let message = house.ask("a.wild.org", RecordType::A).await;
    assert_eq!(message.metadata.response_code, ResponseCode::ServFail);
    assert!(house.asked().len() < 14, "{:?}", house.asked());
}

#[tokio::test]
async fn an_alias_of_a_private_endpoint_leads_into_the_hub() {
    let records =
        vec![alias("exact.org", 300, "lake.dfs.core.windows.net"), address("lake.dfs.core.windows.net", 300, SITE)];
    let house = House::new(plan(Mode::ApprovedOutbound), zone(records)).await;
    let message = house.ask("exact.org", RecordType::A).await;
    assert_eq!(addresses(&message), [ENDPOINT], "not to the public address");
    assert!(house.resolver.told(&Name::parse("exact.org").unwrap()).is_empty());

    let house = House::new(plan(Mode::ApprovedOutbound), |asked, _| {
        Act::Send(vec![answer(asked, vec![alias("exact.org", 300, "lake.dfs.core.windows.net")])])
    })
    .await;
    assert_eq!(addresses(&house.ask("exact.org", RecordType::A).await), [ENDPOINT]);
    assert_eq!(house.asked(), ["exact.org"], "names of the hub are not asked for outside");
}

#[tokio::test]
async fn the_hub_answers_for_its_own_in_every_mode() {
    for mode in [Mode::ApprovedOutbound, Mode::InternetOutbound, Mode::Disabled] {
        let house = House::alone(plan(mode)).await;
        assert_eq!(addresses(&house.ask("lake.dfs.core.windows.net", RecordType::A).await), [ENDPOINT]);
        let gateway = plan(mode).gateway();
        assert_eq!(addresses(&house.ask("api.bastide.localhost", RecordType::A).await), [gateway]);
        for kind in [RecordType::AAAA, RecordType::TXT] {
            let message = house.ask("lake.dfs.core.windows.net", kind).await;
            assert_eq!((message.metadata.response_code, message.answers.len()), (ResponseCode::NoError, 0));
        }
        for (address, name) in [
            ("1.0.127.100.in-addr.arpa", "api.bastide.localhost."),
            ("1.255.127.100.in-addr.arpa", "lake.dfs.core.windows.net."),
            ("1.0.0.127.in-addr.arpa", "dev."),
        ] {
            let message = house.ask(address, RecordType::PTR).await;
            assert_eq!(message.answers[0].data.to_string(), name);
        }
        assert!(house.asked().is_empty());
    }
}

#[tokio::test]
async fn where_the_internet_is_open_any_name_is_asked_for_and_addresses_are_still_filtered() {
    let records = vec![
        address("any.net", 60, SITE),
        address("metadata.net", 60, [169, 254, 169, 254]),
        Record::from_rdata(spelled("any.net"), 60, RData::TXT(TXT::new(vec!["v=spf1".into()]))),
        Record::from_rdata(spelled("any.net"), 60, RData::MX(MX::new(10, spelled("mx.any.net")))),
        Record::from_rdata(spelled("80.0.18.198.in-addr.arpa"), 60, RData::PTR(rr::rdata::PTR(spelled("any.net")))),
    ];
    for mode in [Mode::InternetOutbound, Mode::Disabled] {
        let house = House::new(plan(mode), zone(records.clone())).await;
        assert_eq!(addresses(&house.ask("any.net", RecordType::A).await), [Ipv4Addr::from(SITE)]);
        assert!(addresses(&house.ask("metadata.net", RecordType::A).await).is_empty());
        for kind in [RecordType::TXT, RecordType::MX] {
            assert_eq!(house.ask("any.net", kind).await.answers.len(), 1, "{kind}");
        }
        let pointer = house.ask("80.0.18.198.in-addr.arpa", RecordType::PTR).await;
        assert_eq!(pointer.answers[0].data.to_string(), "any.net.");
        let before = house.asked().len();
        for kind in [RecordType::AAAA, RecordType::HTTPS] {
            assert!(house.ask("any.net", kind).await.answers.is_empty());
        }
        for name in ["printer.local", "wpad", "x.localhost", "1.0.0.10.in-addr.arpa", "x.ip6.arpa"] {
            let message = house.ask(name, RecordType::A).await;
            assert_eq!(message.metadata.response_code, ResponseCode::NXDomain, "{name}");
        }
        assert_eq!(house.asked().len(), before, "what is no matter of the internet stays inside");
    }
}

#[tokio::test]
async fn answers_hold_within_bounds_and_then_are_asked_for_anew() {
    let moved = Arc::new(Mutex::new(SITE));
    let site = Arc::clone(&moved);
    let house = House::new(plan(Mode::ApprovedOutbound), move |asked, _| {
        let records = vec![address("exact.org", 0, *site.lock().unwrap())];
        Act::Send(vec![answer(asked, records)])
    })
    .await;
    let name = Name::parse("exact.org").unwrap();
    let first = house.ask("exact.org", RecordType::A).await;
    assert_eq!(first.answers[0].ttl, 30, "a TTL of 0 is 30 s here");
    *moved.lock().unwrap() = [198, 18, 0, 81];

    house.clock.advance(Duration::from_secs(29));
    let message = house.ask("exact.org", RecordType::A).await;
    assert_eq!((addresses(&message), message.answers[0].ttl), (vec![SITE.into()], 1));
    assert_eq!(house.asked().len(), 1);

    house.clock.advance(Duration::from_secs(1));
    assert_eq!(addresses(&house.ask("exact.org", RecordType::A).await), [Ipv4Addr::new(198, 18, 0, 81)]);
    let pinned = house.resolver.addresses(&name, DEV).await.unwrap();
    assert_eq!(pinned, [Ipv4Addr::new(198, 18, 0, 81), SITE.into()], "who asked a moment ago still connects");
    house.clock.advance(Duration::from_secs(10));
    assert_eq!(house.resolver.addresses(&name, DEV).await.unwrap(), [Ipv4Addr::new(198, 18, 0, 81)]);

    // Long after: nothing is pinned, and the firewall has it resolved.
    *moved.lock().unwrap() = [198, 18, 0, 82];
    house.clock.advance(Duration::from_secs(100));
    assert!(house.resolver.told(&name).is_empty());
    assert_eq!(house.resolver.addresses(&name, DEV).await.unwrap(), [Ipv4Addr::new(198, 18, 0, 82)]);
}

#[tokio::test]
async fn a_time_of_day_that_jumps_changes_nothing_of_what_ends() {
    let house = House::new(plan(Mode::ApprovedOutbound), zone(vec![address("exact.org", 300, SITE)])).await;
    let name = Name::parse("exact.org").unwrap();
    house.ask("exact.org", RecordType::A).await;
    let years = 10 * 365 * 24 * 3_600_000;
    for by in [years, -2 * years, years] {
        house.clock.set_time_of_day(by);
        house.clock.advance(Duration::from_secs(1));
        // What was told is remembered and pinned as before, and who was not answered before is not answered now.
        assert_eq!(addresses(&house.ask("exact.org", RecordType::A).await), [Ipv4Addr::from(SITE)]);
        assert_eq!(house.resolver.addresses(&name, DEV).await.unwrap(), [Ipv4Addr::from(SITE)]);
        assert_eq!(house.ask("other.org", RecordType::A).await.metadata.response_code, ResponseCode::NXDomain);
    }
    assert_eq!(house.asked().len(), 1);
    // The log says what the clock on the wall said, and misses nothing.
    let times: Vec<_> = house.records().iter().map(|record| record.at.signum()).collect();
    assert_eq!(times.iter().filter(|sign| **sign < 0).count(), 2);
    assert_eq!(house.records().iter().map(|record| record.count).sum::<u32>(), 7);
}

#[tokio::test]
async fn a_rule_that_goes_takes_pins_and_memory_along() {
    let records = vec![address("exact.org", 600, SITE), address("a.wild.org", 600, SITE)];
    let house = House::new(plan(Mode::ApprovedOutbound), zone(records)).await;
    let (exact, wild) = (Name::parse("exact.org").unwrap(), Name::parse("a.wild.org").unwrap());
    house.ask("exact.org", RecordType::A).await;
    house.ask("a.wild.org", RecordType::A).await;

    let mut without = plan(Mode::ApprovedOutbound);
    without.names.retain(|rule| rule.rule.0 != "exact");
    house.replan(without);
    assert!(house.resolver.told(&exact).is_empty() && house.resolver.remembered(&exact).is_none());
    assert!(house.resolver.addresses(&exact, DEV).await.is_err());
    assert_eq!(house.ask("exact.org", RecordType::A).await.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(house.resolver.told(&wild), [Ipv4Addr::from(SITE)]);

    house.replan(plan(Mode::ApprovedOutbound));
    assert_eq!(
        addresses(&house.ask("exact.org", RecordType::A).await),
        [Ipv4Addr::from(SITE)],
        "and comes back at once"
    );
}

#[tokio::test]
async fn large_answers_are_cut_over_udp_and_whole_over_tcp() {
    let many: Vec<_> = (0..60).map(|last| address("exact.org", 60, [198, 18, 1, last])).collect();
    let house = House::new(plan(Mode::ApprovedOutbound), zone(many)).await;
    let mut small = question("exact.org", RecordType::A);
    small.edns = None;
    let bytes = house.send_from(DEV, &small.to_vec().unwrap()).await.unwrap();
    let message = Message::from_vec(&bytes).unwrap();
    assert!(bytes.len() <= 512 && message.metadata.truncation && message.answers.is_empty());
    assert_eq!(house.ask("exact.org", RecordType::A).await.answers.len(), 60, "1,232 bytes hold it");
    assert_eq!(house.ask_by_stream(&small).await.answers.len(), 60);
}

#[tokio::test]
async fn a_connection_carries_many_questions_and_no_nonsense() {
    let house = House::new(plan(Mode::ApprovedOutbound), zone(vec![address("exact.org", 60, SITE)])).await;
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    for name in ["exact.org", "evil.org", "exact.org"] {
        write_framed(&mut stream, &question(name, RecordType::A).to_vec().unwrap()).await;
    }
    let mut found = Vec::new();
    for _ in 0..3 {
        found.push(addresses(&Message::from_vec(&read_framed(&mut stream).await.unwrap()).unwrap()).len());
    }
    assert_eq!(found, [1, 0, 1]);
    write_framed(&mut stream, &[0; 5000]).await;
    assert!(read_framed(&mut stream).await.is_none(), "more than a question is no question");
}
