//! A ClientHello: the answer does not depend on how it arrived, and what is found is a name.

use bastide_inspect::Name;
use bastide_inspect::client_hello::{Hello, MAX_FLIGHT};

/// Reads the input as the first flight of a client.
pub fn check(data: &[u8]) {
    let whole = Hello::read(data);
    for cut in [0, 1, 5, 9, data.len() / 2, data.len().saturating_sub(1)] {
        let part = Hello::read(&data[..cut.min(data.len())]);
        assert!(part == Hello::NeedMore || part == whole, "{part:?}, then {whole:?}");
    }
    match whole {
        Hello::Found(hello) => {
            assert!(hello.length <= data.len() && hello.length <= MAX_FLIGHT);
            assert_eq!(Name::parse(hello.name.as_str()), Ok(hello.name.clone()));
            assert_eq!(Hello::read(&data[..hello.length]), Hello::Found(hello));
        }
        Hello::NeedMore => assert!(data.len() < MAX_FLIGHT),
        Hello::Absent | Hello::Refuse(_) => {}
    }
}
