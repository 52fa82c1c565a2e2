//! A client may say hello twice: a server that wants another key share answers with a HelloRetryRequest (RFC 8446,
//! section 4.1.4), and the second hello goes over the wire in the clear as the first did. Servers are not required to
//! compare the two, so who looks at the first one only lets a client change its mind about the name.

use crate::client_hello::{HANDSHAKE, Hello, HelloRefusal, RECORD_HEAD};
use crate::name::Name;

/// Watches both directions behind a hello until no second one can be accepted any more.
#[derive(Debug)]
pub struct RetryWatch {
    name: Name,
    client: Client,
    /// What the server has said so far; no more than is needed to tell a retry request.
    server: Vec<u8>,
    verdict: Option<ServerVerdict>,
}

/// Where the watch stands in the client's records.
#[derive(Debug)]
enum Client {
    /// In the head of a record that is no handshake.
    Head { seen: usize, length: usize },
    /// So many bytes before the next record.
    Body(usize),
    /// In what may be the second hello; its bytes have to wait.
    Hello,
    /// Nothing behind this could be a hello.
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ServerVerdict {
    Retry,
    NoRetry,
}

/// What to do with the bytes of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// Send all of them on.
    Pass,
    /// Send on so many, keep the others, and ask again with these and those that follow.
    Hold(usize),
    /// End the connection: the second hello is broken or names another host.
    Refuse(SecondHello),
}

/// What is wrong with a second hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecondHello {
    /// It names another host than the first, or none.
    #[error("its second ClientHello names another host than the first")]
    OtherName,
    /// It cannot be read.
    #[error("{0}, the second time")]
    Broken(HelloRefusal),
}

impl RetryWatch {
    /// Begins behind a hello that named `name`.
    pub fn new(name: Name) -> Self {
        Self { name, client: Client::Body(0), server: Vec::new(), verdict: None }
    }

    /// Whether nothing is left to be seen: both directions may be carried on without looking.
    pub fn is_over(&self) -> bool {
        self.verdict == Some(ServerVerdict::NoRetry) || matches!(self.client, Client::Over)
    }

    /// Looks at what the server sends, which may all be sent on.
    pub fn server(&mut self, bytes: &[u8]) {
        if self.verdict.is_none() {
            let wanted = RETRY_END.saturating_sub(self.server.len()).min(bytes.len());
            self.server.extend_from_slice(bytes.get(..wanted).unwrap_or_default());
            self.verdict = server_verdict(&self.server);
        }
    }

    /// Looks at what the client sends: what was held last time, and what has arrived since.
    pub fn client(&mut self, bytes: &[u8]) -> Watched {
        let mut place = 0;
        while let Some(rest) = bytes.get(place..).filter(|rest| !rest.is_empty()) {
            if self.is_over() {
                return Watched::Pass;
            }
            match &mut self.client {
                Client::Body(0) => self.client = Self::record(rest),
                Client::Body(left) => {
                    let step = rest.len().min(*left);
                    *left -= step;
                    place += step;
                }
                Client::Head { seen, length } => {
                    *seen += 1;
                    if *seen > RECORD_HEAD - 2 {
                        *length = *length << 8 | usize::from(*rest.first().unwrap_or(&0));
                    }
                    if *seen == RECORD_HEAD {
                        self.client = Client::Body(*length);
                    }
                    place += 1;
                }
                Client::Hello => match Hello::read(rest) {
                    Hello::NeedMore => return Watched::Hold(place),
                    Hello::Found(hello) if hello.name == self.name => self.client = Client::Over,
                    Hello::Found(_) | Hello::Absent => return Watched::Refuse(SecondHello::OtherName),
                    // The second flight of TLS 1.2: its server has said that it takes no other hello.
                    Hello::Refuse(HelloRefusal::NotHello) => self.client = Client::Over,
                    Hello::Refuse(refusal) => return Watched::Refuse(SecondHello::Broken(refusal)),
                },
                Client::Over => return Watched::Pass,
            }
        }
        Watched::Pass
    }

    fn record(bytes: &[u8]) -> Client {
        match bytes.first() {
            Some(&HANDSHAKE) => Client::Hello,
            Some(&(CHANGE_CIPHER_SPEC | ALERT | APPLICATION_DATA)) => Client::Head { seen: 0, length: 0 },
            // No server listens to a client that has stopped to speak TLS.
            _ => Client::Over,
        }
    }
}

/// A retry request is a ServerHello with a random of its own. None: cannot tell yet.
fn server_verdict(bytes: &[u8]) -> Option<ServerVerdict> {
    match bytes.first()? {
        &HANDSHAKE => {}
        _ => return Some(ServerVerdict::NoRetry),
    }
    let kind = *bytes.get(RECORD_HEAD)?;
    if kind != SERVER_HELLO {
        return Some(ServerVerdict::NoRetry);
    }
    let length = u16::from_be_bytes([*bytes.get(RECORD_HEAD - 2)?, *bytes.get(RECORD_HEAD - 1)?]);
    if usize::from(length) < RETRY_END - RECORD_HEAD {
        // Nobody cuts a ServerHello so small; who does is watched to the end.
        return Some(ServerVerdict::Retry);
    }
    let random = bytes.get(RETRY_END - RETRY_RANDOM.len()..RETRY_END)?;
    Some(if random == RETRY_RANDOM { ServerVerdict::Retry } else { ServerVerdict::NoRetry })
}

/// SHA-256 of "HelloRetryRequest" (RFC 8446, section 4.1.3).
const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];
/// Head of the record, head of the message, version, random.
const RETRY_END: usize = RECORD_HEAD + 4 + 2 + RETRY_RANDOM.len();
const SERVER_HELLO: u8 = 2;
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const APPLICATION_DATA: u8 = 23;

#[cfg(test)]
mod tests;
