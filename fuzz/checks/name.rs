//! Names and patterns: reading again changes nothing, and a table says what its patterns say one by one.

use bastide_inspect::{Name, NamePattern, NameTable};

/// Reads the first line as a host, the others as patterns.
pub fn check(data: &[u8]) {
    let wire = Name::parse_bytes(data.split(|byte| *byte == b'\n').next().unwrap_or_default());
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.split('\n');
    let Ok(host) = Name::parse(lines.next().unwrap_or_default()) else {
        assert!(wire.is_err(), "the wire knows more names than people do");
        return;
    };
    assert_eq!(Name::parse(host.as_str()), Ok(host.clone()));
    assert!(wire.is_err() || wire == Ok(host.clone()));
    assert!(host.as_str().parse::<std::net::IpAddr>().is_err());
    assert!(!host.is_below(&host));

    let patterns: Vec<_> = lines.filter_map(|line| NamePattern::parse(line).ok()).collect();
    for pattern in &patterns {
        assert_eq!(NamePattern::parse(&pattern.to_string()).as_ref(), Ok(pattern));
    }
    let table: NameTable<_> = patterns.iter().map(|pattern| (pattern.clone(), pattern)).collect();
    let decides = patterns
        .iter()
        .filter(|pattern| pattern.matches(&host))
        .max_by_key(|pattern| (!pattern.is_wildcard(), pattern.name().labels().count()));
    assert_eq!(table.lookup(&host).copied(), decides);
}
