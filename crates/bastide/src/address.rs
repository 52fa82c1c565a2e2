//! Where the server listens and the origins it answers under.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;

use bastide_server::origin::{Origin, OriginError, Origins};

/// `HOST:PORT` as the operator wrote it; an IPv6 address stands in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenAddress {
    host: String,
    port: u16,
}

/// A text that is no `HOST:PORT`, or a host that has no address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddressError {
    /// Not of the form.
    #[error("'{0}' is not HOST:PORT, such as 127.0.0.1:8443 or [::1]:8443")]
    Malformed(String),
    /// The host cannot be resolved.
    #[error("cannot find the address of '{host}' to listen on: {source}")]
    Unresolved {
        /// The host.
        host: String,
        /// What the resolver said.
        source: std::io::Error,
    },
    /// The resolver knows the host but no address.
    #[error("'{0}' has no address to listen on")]
    NoAddress(String),
    /// An origin that cannot be built from these parts.
    #[error(transparent)]
    Origin(#[from] OriginError),
}

impl ListenAddress {
    /// The first address of the host, with the port.
    pub(crate) fn resolve(&self) -> Result<SocketAddr, AddressError> {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        (bare, self.port)
            .to_socket_addrs()
            .map_err(|source| AddressError::Unresolved { host: self.host.clone(), source })?
            .next()
            .ok_or_else(|| AddressError::NoAddress(self.host.clone()))
    }

    /// The origins of a server bound to `bound` at this address.
    ///
    /// On loopback (and on all addresses) the canonical one is `https://localhost:PORT`, because that is what names and
    /// certificates work best with; the other spellings are aliases. `public` overrides it, `internal` is one more, for the
    /// inside of hubs: names below `localhost` mean the compute itself there.
    pub(crate) fn origins(
        &self,
        bound: SocketAddr,
        host_name: Option<&str>,
        public: Option<&Origin>,
        internal: Option<&Origin>,
        zone: &str,
    ) -> Result<Origins, AddressError> {
        let at = |host: &str| Origin::parse(&format!("https://{host}:{}", bound.port()));
        let everywhere = bound.ip().is_unspecified();
        let mut all = Vec::new();
        all.extend(public.cloned());
        if everywhere || bound.ip().is_loopback() {
            for host in ["localhost", "127.0.0.1", "[::1]"] {
                all.push(at(host)?);
            }
        }
        if !everywhere {
            all.push(at(&self.host)?);
            all.push(at(&bracketed(bound.ip()))?);
        } else if let Some(alias) = host_name.and_then(|host_name| at(host_name).ok()) {
            all.push(alias);
        }
        let internal = internal.cloned().map_or_else(|| at(INTERNAL_HOST), Ok)?;
        let mut distinct: Vec<Origin> = Vec::new();
        for origin in all {
            if !distinct.contains(&origin) {
                distinct.push(origin);
            }
        }
        let Some((canonical, aliases)) = distinct.split_first() else {
            return Err(AddressError::NoAddress(self.host.clone()));
        };
        Ok(Origins::new(canonical.clone(), aliases.to_vec(), zone).with_internal(internal))
    }
}

impl Default for ListenAddress {
    fn default() -> Self {
        Self { host: "127.0.0.1".to_owned(), port: 8443 }
    }
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let malformed = || AddressError::Malformed(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(malformed)?;
        let port = port.parse().map_err(|_| malformed())?;
        let is_bracketed = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || host.contains(':') != is_bracketed || host.contains(['/', '@', ' ']) {
            return Err(malformed());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// How the inside of hubs calls the server, unless the operator has another name for it. The domain is reserved for private
/// use and will never be delegated.
const INTERNAL_HOST: &str = "api.bastide.internal";

fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(listen: &str, bound: &str, public: Option<&str>) -> Vec<String> {
        let listen: ListenAddress = listen.parse().unwrap();
        let public = public.map(|text| Origin::parse(text).unwrap());
        let origins = listen.origins(bound.parse().unwrap(), Some("hubhost"), public.as_ref(), None, "z.test").unwrap();
        origins.all().map(|origin| origin.as_str().to_owned()).collect()
    }

    #[test]
    fn loopback_is_called_localhost_and_known_by_its_other_names() {
        let expected = [
            "https://localhost:4711",
            "https://127.0.0.1:4711",
            "https://[::1]:4711",
            "https://api.bastide.internal:4711",
        ];
        assert_eq!(origins("127.0.0.1:0", "127.0.0.1:4711", None), expected, "the real port, not 0");
        assert_eq!(origins("[::1]:0", "[::1]:4711", None), expected);
    }

    #[test]
    fn listening_everywhere_adds_the_name_of_the_machine() {
        let expected = [
            "https://localhost:1",
            "https://127.0.0.1:1",
            "https://[::1]:1",
            "https://hubhost:1",
            "https://api.bastide.internal:1",
        ];
        assert_eq!(origins("0.0.0.0:1", "0.0.0.0:1", None), expected);
    }

    #[test]
    fn an_address_of_the_network_is_its_own_origin() {
        assert_eq!(
            origins("192.0.2.7:8443", "192.0.2.7:8443", None),
            ["https://192.0.2.7:8443", "https://api.bastide.internal:8443"]
        );
    }

    #[test]
    fn a_public_origin_comes_first() {
        let all = origins("0.0.0.0:8443", "0.0.0.0:8443", Some("https://hub.example.org"));
        assert_eq!(all.first().map(String::as_str), Some("https://hub.example.org"));
        assert!(all.contains(&"https://localhost:8443".to_owned()));
    }

    #[test]
    fn refuses_what_is_not_host_and_port() {
        for text in
            ["", "8443", "localhost", ":8443", "::1:8443", "[::1:8443", "localhost:x", "localhost:65536", "a/b:1"]
        {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }
}
