//! The host name under which an instance's applications are: an origin of its own for each incarnation, so that a page of
//! one instance can do nothing to another one, and nothing in a browser outlives an instance.

use uuid::Uuid;

/// `{name}-{first 8 digits of the incarnation}`, the label before `.instances.{zone}`.
pub fn label(name: &str, incarnation: Uuid) -> String {
    let id = incarnation.simple().to_string();
    format!("{}-{}", name.to_ascii_lowercase(), id.get(..8).unwrap_or_default())
}

/// `{label}.instances.{zone}`; with a zone that has a port, the authority of a URL.
pub fn host(name: &str, incarnation: Uuid, zone: &str) -> String {
    format!("{}.{SPACE}.{zone}", label(name, incarnation))
}

/// The label of a host name below a zone (without a port), if it is one of an instance.
pub fn parse<'a>(host: &'a str, zone: &str) -> Option<&'a str> {
    let label = host.strip_suffix(zone)?.strip_suffix('.')?.strip_suffix(SPACE)?.strip_suffix('.')?;
    let (name, id) = label.rsplit_once('-')?;
    let is_id = id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    (is_id && !name.is_empty() && !label.contains('.')).then_some(label)
}

/// The word that keeps instances apart from other services of the zone.
pub const SPACE: &str = "instances";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_says_the_name_and_the_incarnation() {
        let incarnation = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        let host = host("Mei-CI", incarnation, "bastide.localhost");
        assert_eq!(host, "mei-ci-01234567.instances.bastide.localhost");
        assert_eq!(parse(&host, "bastide.localhost"), Some("mei-ci-01234567"));
        for other in [
            "a-0123456.instances.z",
            "a-0123456g.instances.z",
            "-01234567.instances.z",
            "a-01234567.z",
            "x.a-01234567.instances.z",
        ] {
            assert_eq!(parse(other, "z"), None, "{other}");
        }
    }
}
