//! A resolver of the host that is dead, slow, or a liar.

use std::collections::HashSet;
use std::time::Instant;

use bastide_plan::flow::FlowVerdict;

use super::*;

fn honest(asked: &Message) -> Message {
    let name = asked.queries[0].name.to_ascii();
    answer(asked, vec![address(&name, 60, SITE)])
}

#[tokio::test]
async fn answers_that_do_not_fit_are_not_taken() {
    let evil = [203, 0, 113, 66];
    let house = House::new(plan(Mode::ApprovedOutbound), move |asked, _| {
        let forged = |change: &dyn Fn(&mut Message)| {
            let mut message = answer(asked, vec![address("exact.org", 60, evil)]);
            change(&mut message);
            message
        };
        Act::Send(vec![
            forged(&|message| message.metadata.id ^= 1),
            forged(&|message| message.queries[0].name = spelled("other.org")),
            forged(&|message| message.queries[0].query_type = RecordType::AAAA),
            forged(&|message| {
                // The letters in the cases that were not asked for.
                let swapped = message.queries[0].name.to_ascii();
                let swap = |letter: char| {
                    if letter.is_ascii_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
                };
                message.queries[0].name = spelled(&swapped.chars().map(swap).collect::<String>());
            }),
            honest(asked),
        ])
    })
    .await;
    assert_eq!(addresses(&house.ask("exact.org", RecordType::A).await), [Ipv4Addr::from(SITE)]);
}

#[tokio::test]
async fn whoever_guesses_many_times_is_left_and_asked_over_tcp() {
    let house = House::new(plan(Mode::ApprovedOutbound), |asked, transport| match transport {
        Transport::Udp => Act::Send(vec![
            {
                let mut message = honest(asked);
                message.metadata.id ^= 1;
                message
            };
            20
        ]),
        Transport::Tcp => Act::Send(vec![honest(asked)]),
    })
    .await;
    let since = Instant::now();
    assert_eq!(addresses(&house.ask("exact.org", RecordType::A).await), [Ipv4Addr::from(SITE)]);
    assert!(since.elapsed() < Duration::from_millis(400));
}

#[tokio::test]
async fn a_middle_box_that_writes_small_is_got_around() {
    let house = House::new(plan(Mode::ApprovedOutbound), |asked, transport| {
        let mut message = honest(asked);
        message.queries[0].name = message.queries[0].name.to_lowercase();
        match transport {
            Transport::Udp => Act::Send(vec![message; 8]),
            Transport::Tcp => Act::Send(vec![message]),
        }
    })
    .await;
    let long = "a-name-of-many-letters-to-get-the-cases-wrong.wild.org";
    assert_eq!(addresses(&house.ask(long, RecordType::A).await), [Ipv4Addr::from(SITE)]);
}

#[tokio::test]
async fn addresses_of_other_names_in_an_answer_are_nothing() {
    let house = House::new(plan(Mode::ApprovedOutbound), |asked, _| {
        let mut message = answer(asked, vec![address("victim.wild.org", 600, [203, 0, 113, 66])]);
        message.add_answer(address(&asked.queries[0].name.to_ascii(), 60, SITE));
        message.add_additional(address("victim.wild.org", 600, [203, 0, 113, 66]));
        Act::Send(vec![message])
    })
    .await;
    assert_eq!(addresses(&house.ask("exact.org", RecordType::A).await), [Ipv4Addr::from(SITE)]);
    assert_eq!(addresses(&house.ask("victim.wild.org", RecordType::A).await).len(), 2, "asked for by itself");
    assert_eq!(house.asked(), ["exact.org", "victim.wild.org"]);
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_over_tcp() {
    let house = House::new(plan(Mode::ApprovedOutbound), |asked, transport| {
        let mut message = honest(asked);
        message.metadata.truncation = transport == Transport::Udp;
        Act::Send(vec![message])
    })
    .await;
    assert_eq!(addresses(&house.ask("exact.org", RecordType::A).await), [Ipv4Addr::from(SITE)]);
    let transports: Vec<_> = house.far.asked.lock().unwrap().iter().map(|(_, _, transport, _)| *transport).collect();
    assert_eq!(transports, [Transport::Udp, Transport::Tcp]);
}

#[tokio::test]
async fn a_stream_that_was_closed_meanwhile_is_replaced() {
    let house = House::new(plan(Mode::ApprovedOutbound), |asked, transport| {
        let mut message = honest(asked);
        message.metadata.truncation = transport == Transport::Udp;
        Act::Send(vec![message])
    })
    .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stale = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    drop(listener.accept().await.unwrap());
    house.resolver.add_upstream(Transport::Tcp, stale.into_std().unwrap().into()).unwrap();
    assert_eq!(addresses(&house.ask("exact.org", RecordType::A).await), [Ipv4Addr::from(SITE)]);
}

#[tokio::test]
async fn a_lost_datagram_is_asked_again_and_its_port_never_used_again() {
    let mut met = HashSet::new();
    let house = House::new(plan(Mode::ApprovedOutbound), move |asked, _| {
        let is_first = met.insert(asked.queries[0].name.to_lowercase().to_ascii());
        if is_first { Act::Silence } else { Act::Send(vec![honest(asked)]) }
    })
    .await;
    let house = Arc::new(house);
    let since = Instant::now();
    let asking: Vec<_> = (0..12)
        .map(|number| {
            let house = Arc::clone(&house);
            tokio::spawn(async move { house.ask(&format!("n{number}.wild.org"), RecordType::A).await })
        })
        .collect();
    for message in asking {
        assert_eq!(addresses(&message.await.unwrap()), [Ipv4Addr::from(SITE)]);
    }
    assert!(since.elapsed() < Duration::from_millis(1200), "{:?}", since.elapsed());

    let (mut met, mut ports) = (HashSet::new(), Vec::new());
    let asked = house.far.asked.lock().unwrap();
    let lost: Vec<_> = asked.iter().filter(|(name, ..)| met.insert(name)).map(|(.., port)| *port).collect();
    ports.extend(asked.iter().map(|(.., port)| *port));
    for port in lost {
        assert_eq!(ports.iter().filter(|used| **used == port).count(), 1, "a late answer would meet another question");
    }
}

#[tokio::test]
async fn a_silent_resolver_is_a_failure_within_two_seconds_and_stops_nobody_else() {
    let house = House::new(plan(Mode::ApprovedOutbound), |asked, _| {
        if asked.queries[0].name.to_lowercase().to_ascii() == "exact.org." {
            return Act::Send(vec![honest(asked)]);
        }
        Act::Late(Duration::from_secs(30), honest(asked))
    })
    .await;
    let since = Instant::now();
    let house = Arc::new(house);
    let slow: Vec<_> = (0..40)
        .map(|number| {
            let house = Arc::clone(&house);
            tokio::spawn(async move { house.ask(&format!("n{number}.wild.org"), RecordType::A).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let batch = house.ask_from(BATCH, &question("exact.org", RecordType::A)).await.unwrap();
    assert_eq!(addresses(&batch), [Ipv4Addr::from(SITE)]);
    assert!(since.elapsed() < Duration::from_secs(1), "another compute does not wait");
    let mut failed = 0;
    for message in slow {
        let message = message.await.unwrap();
        failed += usize::from(message.metadata.response_code == ResponseCode::ServFail);
        assert!(addresses(&message).is_empty());
    }
    assert!(since.elapsed() < Duration::from_millis(2600), "{:?}", since.elapsed());
    assert_eq!(failed, crate::resolver::budget::IN_FLIGHT, "the rest was turned down at once");

    let message = house.ask("n0.wild.org", RecordType::A).await;
    assert!(matches!(message.metadata.response_code, ResponseCode::ServFail | ResponseCode::Refused));
    let failure = house.records().into_iter().find(|record| record.verdict == FlowVerdict::Failed).unwrap();
    assert!(failure.reason.unwrap().contains("did not answer within 2 s"));
}

#[tokio::test]
async fn a_rule_that_is_withdrawn_while_its_name_is_asked_for_opens_nothing() {
    let house =
        House::new(plan(Mode::ApprovedOutbound), |asked, _| Act::Late(Duration::from_millis(200), honest(asked))).await;
    let house = Arc::new(house);
    let name = Name::parse("exact.org").unwrap();
    let (asking, resolver, wanted) = (Arc::clone(&house), Arc::clone(&house.resolver), name.clone());
    let answered = tokio::spawn(async move { asking.ask("exact.org", RecordType::A).await });
    let connected = tokio::spawn(async move { resolver.addresses(&wanted, BATCH).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut without = plan(Mode::ApprovedOutbound);
    without.names.clear();
    house.replan(without);
    assert_eq!(answered.await.unwrap().metadata.response_code, ResponseCode::NXDomain);
    assert!(connected.await.unwrap().is_err());
    assert!(house.resolver.told(&name).is_empty() && house.resolver.remembered(&name).is_none());
}

#[tokio::test]
async fn a_failure_is_remembered_for_a_moment_only() {
    let up = Arc::new(Mutex::new(false));
    let is_up = Arc::clone(&up);
    let house = House::new(plan(Mode::ApprovedOutbound), move |asked, _| {
        let mut message = honest(asked);
        if !*is_up.lock().unwrap() {
            message.metadata.response_code = ResponseCode::ServFail;
        }
        Act::Send(vec![message])
    })
    .await;
    for _ in 0..3 {
        let message = house.ask("exact.org", RecordType::A).await;
        assert_eq!(message.metadata.response_code, ResponseCode::ServFail);
        assert_eq!(extended_error(&message).map(|(code, _)| code), Some(22));
    }
    assert_eq!(house.asked().len(), 1);
    *up.lock().unwrap() = true;
    house.clock.advance(Duration::from_secs(2));
    assert_eq!(addresses(&house.ask("exact.org", RecordType::A).await), [Ipv4Addr::from(SITE)]);
}

#[tokio::test]
async fn many_who_ask_for_one_name_make_one_question() {
    let house =
        House::new(plan(Mode::ApprovedOutbound), |asked, _| Act::Late(Duration::from_millis(100), honest(asked))).await;
    let house = Arc::new(house);
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let house = Arc::clone(&house);
            tokio::spawn(async move { addresses(&house.ask("exact.org", RecordType::A).await).len() })
        })
        .collect();
    for found in asking {
        assert_eq!(found.await.unwrap(), 1);
    }
    assert_eq!(house.asked().len(), 1);
}

#[tokio::test]
async fn ports_change_and_numbers_are_not_guessed() {
    let numbers = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&numbers);
    let mut open = plan(Mode::InternetOutbound);
    open.names.clear();
    let house = House::new(open, move |asked, _| {
        seen.lock().unwrap().push(asked.metadata.id);
        Act::Send(vec![honest(asked)])
    })
    .await;
    for number in 0..200 {
        assert_eq!(addresses(&house.ask(&format!("n{number}.net"), RecordType::A).await).len(), 1);
    }
    let ports: HashSet<_> = house.far.asked.lock().unwrap().iter().map(|(.., port)| *port).collect();
    assert!(ports.len() >= 7, "a socket serves 32 questions at most: {ports:?}");
    let numbers: HashSet<_> = numbers.lock().unwrap().iter().copied().collect();
    assert!(numbers.len() > 190);
}

#[tokio::test]
async fn without_a_socket_the_failure_says_so() {
    let house = House::alone(plan(Mode::ApprovedOutbound)).await;
    let (need, mut needed) = mpsc::unbounded_channel();
    let resolver = Resolver::new(Arc::clone(&house.view), Arc::clone(&house.log), house.clock.clone(), need);
    let error = resolver.addresses(&Name::parse("exact.org").unwrap(), DEV).await.unwrap_err();
    assert!(error.to_string().contains("no socket to the host's resolver"), "{error}");
    let mut asked_for = 0;
    while needed.try_recv().is_ok() {
        asked_for += 1;
    }
    assert!(asked_for > 5, "the agent is reminded: {asked_for}");
}
