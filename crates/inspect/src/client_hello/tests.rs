use proptest::prelude::*;

use super::*;

/// First flights of real clients (data/hellos/README.md), all to `hello.example.org`.
const REAL: [(&str, &[u8]); 9] = [
    ("curl", include_bytes!("../../data/hellos/curl.bin")),
    ("openssl-tls12", include_bytes!("../../data/hellos/openssl-tls12.bin")),
    ("openssl-tls13", include_bytes!("../../data/hellos/openssl-tls13.bin")),
    ("python", include_bytes!("../../data/hellos/python.bin")),
    ("gnutls", include_bytes!("../../data/hellos/gnutls.bin")),
    ("go", include_bytes!("../../data/hellos/go.bin")),
    ("java", include_bytes!("../../data/hellos/java.bin")),
    ("node", include_bytes!("../../data/hellos/node.bin")),
    ("firefox, post-quantum", include_bytes!("../../data/hellos/firefox.bin")),
];
const NAMELESS: &[u8] = include_bytes!("../../data/hellos/openssl-no-name.bin");

/// A hello with these extensions, in one record.
fn hello(extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; RANDOM]);
    body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    let extensions: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, body)| [&kind.to_be_bytes(), &len16(body) as &[u8], body].concat())
        .collect();
    body.extend([&len16(&extensions), extensions.as_slice()].concat());
    message(&body)
}

fn message(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    in_records(&[&[CLIENT_HELLO], &length[1..], body].concat(), 16_384)
}

/// A handshake in records of at most so many bytes.
fn in_records(handshake: &[u8], most: usize) -> Vec<u8> {
    handshake.chunks(most).flat_map(|part| [&[HANDSHAKE, 3, 1], &len16(part) as &[u8], part].concat()).collect()
}

fn handshake(flight: &[u8]) -> Vec<u8> {
    flight[RECORD_HEAD..].to_vec()
}

/// The body of a `server_name` extension.
fn server_name(names: &[(u8, &[u8])]) -> Vec<u8> {
    let list: Vec<u8> =
        names.iter().flat_map(|(kind, name)| [&[*kind], &len16(name) as &[u8], name].concat()).collect();
    [&len16(&list), list.as_slice()].concat()
}

fn to(host: &[u8]) -> Vec<u8> {
    hello(&[(SERVER_NAME, &server_name(&[(HOST_NAME, host)])), (43, &[2, 3, 4])])
}

fn len16(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap().to_be_bytes()
}

fn found(name: &str, length: usize) -> Hello {
    Hello::Found(ClientHello { name: Name::parse(name).unwrap(), length })
}

#[test]
fn real_clients_are_understood() {
    for (client, flight) in REAL {
        assert_eq!(Hello::read(flight), found("hello.example.org", flight.len()), "{client}");
        for cut in 0..flight.len() {
            assert_eq!(Hello::read(&flight[..cut]), Hello::NeedMore, "{client} cut at {cut}");
        }
        for most in [1, 3, 20, 512] {
            let records = in_records(&handshake(flight), most);
            assert_eq!(Hello::read(&records), found("hello.example.org", records.len()), "{client} in {most}");
        }
    }
    assert_eq!(Hello::read(NAMELESS), Hello::Absent);
}

#[test]
fn what_follows_in_the_flight_does_not_matter() {
    let mut flight = to(b"pypi.org");
    let length = flight.len();
    flight.extend([20, 3, 3, 0, 1, 1]);
    assert_eq!(Hello::read(&flight), found("pypi.org", length));
}

#[test]
fn a_hello_of_16_kb_passes_and_a_longer_one_does_not() {
    let padded = |padding: usize| hello(&[(SERVER_NAME, &server_name(&[(0, b"pypi.org")])), (21, &vec![0; padding])]);
    let most = MAX_HANDSHAKE - handshake(&padded(0)).len();
    assert!(matches!(Hello::read(&padded(most)), Hello::Found(_)));
    assert_eq!(Hello::read(&in_records(&handshake(&padded(most + 1)), 9000)), Hello::Refuse(HelloRefusal::TooLong));
    // Refused as soon as it says how long it is going to be.
    assert_eq!(Hello::read(&[22, 3, 1, 64, 0, 1, 0, 64, 1]), Hello::Refuse(HelloRefusal::TooLong));
    // And as soon as the heads of its records take too much.
    let crumbs = in_records(&handshake(&padded(most)), 1);
    assert_eq!(Hello::read(&crumbs[..MAX_FLIGHT - 1]), Hello::NeedMore);
    assert_eq!(Hello::read(&crumbs), Hello::Refuse(HelloRefusal::TooLong));
}

#[test]
fn other_protocols_are_refused_at_the_first_byte() {
    for bytes in [b"GET / HTTP/1.1\r\n" as &[u8], b"SSH-2.0-x", &[0], &[0x80, 0x2e, 1], &[22, 2], &[23, 3, 3, 0, 1, 0]]
    {
        assert_eq!(Hello::read(&bytes[..1.max(bytes.len().min(2))]), Hello::Refuse(HelloRefusal::NotTls), "{bytes:?}");
    }
    assert_eq!(Hello::read(&[22, 3, 1, 0, 1, 2]), Hello::Refuse(HelloRefusal::NotHello));
}

#[test]
fn names_are_read_strictly() {
    assert!(matches!(Hello::read(&to(b"PyPI.org.")), Hello::Found(hello) if hello.name.as_str() == "pypi.org"));
    for name in
        [b"10.0.0.1" as &[u8], b"::1", b"", b"a\0.org", b"pypi.org..", b"*.org", b"a b", &[0xff; 4], &[b'a'; 254]]
    {
        let verdict = Hello::read(&to(name));
        assert!(matches!(verdict, Hello::Refuse(HelloRefusal::Name(_))), "{name:?}: {verdict:?}");
    }
    let two = server_name(&[(0, b"pypi.org"), (0, b"evil.org")]);
    let odd = server_name(&[(1, b"pypi.org")]);
    for names in [two, odd, server_name(&[])] {
        assert_eq!(Hello::read(&hello(&[(SERVER_NAME, &names)])), Hello::Refuse(HelloRefusal::NotOneName));
    }
}

#[test]
fn a_second_extension_of_a_kind_is_refused() {
    let (good, evil) = (server_name(&[(0, b"pypi.org")]), server_name(&[(0, b"evil.org")]));
    let twice = hello(&[(SERVER_NAME, &good), (16, b""), (SERVER_NAME, &evil)]);
    assert_eq!(Hello::read(&twice), Hello::Refuse(HelloRefusal::DuplicateExtension));
    let others = hello(&[(43, &[2, 3, 4]), (SERVER_NAME, &good), (43, &[2, 3, 4])]);
    assert_eq!(Hello::read(&others), Hello::Refuse(HelloRefusal::DuplicateExtension));
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let sound = handshake(&to(b"pypi.org"));
    // Every length of the message, one too large and one too small; the last is that of the name.
    let name = sound.len() - 7 - b"pypi.org".len() - 2;
    for place in [38, 40, 43, 46, 50, 52, name, name + 1] {
        for step in [1, u8::MAX] {
            let mut lying = sound.clone();
            lying[place] = lying[place].wrapping_add(step);
            let verdict = Hello::read(&in_records(&lying, 16_384));
            assert!(matches!(verdict, Hello::Refuse(_)), "{place} by {step}: {verdict:?}");
        }
    }
    assert_eq!(Hello::read(&message(&[])), Hello::Refuse(HelloRefusal::Malformed));
    assert_eq!(Hello::read(&[22, 3, 1, 0, 0]), Hello::Refuse(HelloRefusal::Malformed), "an empty record");
    assert_eq!(Hello::read(&[22, 3, 1, 0xff, 0xff]), Hello::Refuse(HelloRefusal::Malformed), "a record too long");
    let behind = in_records(&[sound.as_slice(), &[1]].concat(), 16_384);
    assert_eq!(Hello::read(&behind), Hello::Refuse(HelloRefusal::Malformed), "a byte behind it in its record");
}

#[test]
fn a_hello_without_extensions_names_nobody() {
    let mut body = vec![3, 3];
    body.extend([7; RANDOM]);
    body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    assert_eq!(Hello::read(&message(&body)), Hello::Absent);
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer_that_more_bytes_do_not_change(
        flight in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..400),
            (0..REAL.len(), proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)).prop_map(
                |(client, changes)| {
                    let mut flight = REAL[client].1.to_vec();
                    for (place, byte) in changes {
                        let place = place.index(flight.len());
                        flight[place] = byte;
                    }
                    flight
                }
            ),
        ],
        cut in any::<prop::sample::Index>(),
    ) {
        let whole = Hello::read(&flight);
        let part = Hello::read(&flight[..cut.index(flight.len() + 1)]);
        prop_assert!(part == Hello::NeedMore || part == whole, "{part:?}, then {whole:?}");
    }

    #[test]
    fn records_do_not_change_the_answer(client in 0..REAL.len(), sizes in proptest::collection::vec(1_usize..700, 1..40)) {
        let handshake = handshake(REAL[client].1);
        let mut rest = handshake.as_slice();
        let mut flight = Vec::new();
        for size in sizes.iter().cycle() {
            let (part, behind) = rest.split_at((*size).min(rest.len()));
            flight.extend(in_records(part, 16_384));
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(Hello::read(&flight), found("hello.example.org", flight.len()));
    }
}
