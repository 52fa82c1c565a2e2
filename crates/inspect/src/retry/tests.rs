use super::*;

const HELLO: &[u8] = include_bytes!("../../data/hellos/openssl-tls13.bin");

/// The hello of a client that has changed its mind.
fn other() -> Vec<u8> {
    let place = HELLO.windows(5).position(|bytes| bytes == b"hello").unwrap();
    let mut other = HELLO.to_vec();
    other[place..place + 5].copy_from_slice(b"other");
    other
}

fn watch() -> RetryWatch {
    RetryWatch::new(Name::parse("hello.example.org").unwrap())
}

/// The beginning of a ServerHello with this random.
fn server_hello(random: [u8; 32]) -> Vec<u8> {
    let mut bytes = vec![22, 3, 3, 0, 88, 2, 0, 0, 84, 3, 3];
    bytes.extend(random);
    bytes
}

const CHANGE: &[u8] = &[20, 3, 3, 0, 1, 1];
const EARLY: &[u8] = &[23, 3, 3, 0, 4, 1, 2, 3, 4];

#[test]
fn an_ordinary_handshake_is_watched_until_the_server_has_answered() {
    let mut watch = watch();
    assert!(!watch.is_over());
    let answer = server_hello([9; 32]);
    watch.server(&answer[..20]);
    assert!(!watch.is_over());
    watch.server(&answer[20..]);
    assert!(watch.is_over());
    assert_eq!(watch.client(&other()), Watched::Pass, "no server takes it any more");
}

#[test]
fn a_second_hello_to_the_same_host_passes() {
    let mut watch = watch();
    watch.server(&server_hello(RETRY_RANDOM));
    assert!(!watch.is_over());
    let flight = [CHANGE, HELLO].concat();
    for cut in CHANGE.len() + 1..flight.len() {
        assert_eq!(watch.client(&flight[..CHANGE.len()]), Watched::Pass);
        assert_eq!(watch.client(&flight[CHANGE.len()..cut]), Watched::Hold(0), "{cut}");
        watch.client = Client::Body(0);
    }
    assert_eq!(watch.client(&flight), Watched::Pass);
    assert!(watch.is_over());
}

#[test]
fn a_second_hello_to_another_host_ends_the_connection() {
    // With and without a wait for the server, behind early data, and cut anywhere.
    for (waits, before) in [(true, CHANGE.to_vec()), (false, Vec::new()), (false, [CHANGE, EARLY, EARLY].concat())] {
        let flight = [before.as_slice(), &other()].concat();
        for cut in 0..flight.len() {
            let mut watch = watch();
            if waits {
                watch.server(&server_hello(RETRY_RANDOM));
            }
            let held = match watch.client(&flight[..cut]) {
                Watched::Pass => cut,
                Watched::Hold(place) => place,
                Watched::Refuse(refusal) => panic!("{refusal} at {cut}"),
            };
            assert!(held <= before.len(), "bytes of the second hello were let through");
            assert_eq!(watch.client(&flight[held..]), Watched::Refuse(SecondHello::OtherName), "cut at {cut}");
        }
    }
}

#[test]
fn the_second_flight_of_tls_1_2_passes() {
    let mut watch = watch();
    let client_key_exchange = [vec![22, 3, 3, 0, 37, 16, 0, 0, 33, 32], vec![1; 32]].concat();
    assert_eq!(watch.client(&client_key_exchange[..5]), Watched::Hold(0));
    assert_eq!(watch.client(&client_key_exchange), Watched::Pass);
    assert!(watch.is_over());
}

#[test]
fn who_stops_to_speak_tls_is_no_longer_watched() {
    let mut watch = watch();
    assert_eq!(watch.client(&[0; 100]), Watched::Pass);
    assert!(watch.is_over());
}

#[test]
fn early_data_alone_does_not_end_the_watch() {
    let mut watch = watch();
    for _ in 0..100 {
        assert_eq!(watch.client(&[CHANGE, EARLY].concat()), Watched::Pass);
    }
    assert!(!watch.is_over());
}

#[test]
fn a_server_that_does_not_answer_with_a_hello_ends_the_watch() {
    for answer in [b"HTTP/1.1 400" as &[u8], &[21, 3, 3, 0, 2, 2, 40], &[22, 3, 3, 0, 4, 14, 0, 0, 0]] {
        let mut watch = watch();
        watch.server(answer);
        assert!(watch.is_over(), "{answer:?}");
    }
}
