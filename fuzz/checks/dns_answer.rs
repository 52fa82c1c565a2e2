//! Answers of the host's resolver: no address comes out that the message does not hold, and no chain without end.

use bastide_firewall::resolver::reading::{Asked, End, MAX_ALIASES, Reading, read};
use hickory_proto::rr::{Name, RecordType};

/// Reads the input as an answer to a question for addresses, and to one for text.
pub fn check(data: &[u8]) {
    let Some(id) = data.first_chunk().copied().map(u16::from_be_bytes) else { return };
    let Ok(spelled) = Name::from_ascii("exact.org.") else { return };
    for kind in [RecordType::A, RecordType::TXT] {
        let asked = Asked { id, spelled: spelled.clone(), kind, is_case_strict: kind == RecordType::A };
        let Ok(Reading::Known(known)) = read(data, &asked) else { continue };
        assert!(known.aliases.len() <= MAX_ALIASES);
        assert_eq!(known.size, data.len());
        match known.end {
            End::Addresses(addresses) => {
                assert!(kind == RecordType::A && !addresses.is_empty());
                for address in addresses {
                    assert!(data.windows(4).any(|bytes| bytes == address.octets()));
                }
            }
            End::Records(records) => assert!(records.iter().all(|record| record.record_type() == kind)),
            End::Cut => assert!(!known.aliases.is_empty()),
            End::Nothing | End::NoName => {}
        }
        let other = Asked { id: !id, ..asked };
        assert!(read(data, &other).is_err(), "a number that does not fit is no answer");
    }
}
