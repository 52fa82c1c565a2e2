//! `GET {compute}/bastide/ssh`, and `wss://{instance}/nbip/v1.0/ws-tcp` as Azure's clients know it: SSH over a WebSocket,
//! byte for byte in binary messages.
//!
//! Nothing listens in the compute: each connection has an `sshd -i` of its own, run as the compute's user, who is the only
//! one that can log in there. It knows the keys of the compute and, for this connection, the one that came with it: who
//! was let in here may run processes anyway.

use std::collections::BTreeMap;
use std::sync::Arc;

use bastide_arm::error::ArmError;
use bastide_hub::compute::user::Use;
use bastide_plan::way_in::{Account, Process, WayIn};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::end::End;
use super::exec::{HEARTBEAT, SILENCE};
use super::frame::CHUNK;
use super::socket::{self, Session, Socket};
use super::visit::Visit;
use crate::failure::Failure;
use crate::front::Front;
use crate::network::Opened;
use crate::pass::Pass;
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// Opens the WebSocket.
    pub(crate) async fn open_tunnel(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let headers = socket::accept(request.headers)?;
        let brought = key(request.headers)?;
        let visit = self.visit_of(request, pass, Use::Shell).await?;
        let keys =
            [visit.keys.as_str(), &brought].into_iter().filter(|keys| !keys.is_empty()).collect::<Vec<_>>().join("\n");
        Ok(Reply::switching(
            headers,
            Session::new(move |front, socket| serve(front, visit.clone(), keys.clone(), socket)),
        ))
    }
}

/// The public key that came with a request; no text when none did.
fn key(headers: &HeaderMap) -> Result<String, ArmError> {
    let Some(value) = headers.get(SSH_KEY) else { return Ok(String::new()) };
    let text = value.to_str().unwrap_or_default().trim();
    let keys = bastide_hub::compute::ssh::keys(text, SSH_KEY.as_str())?;
    Ok(keys.into_iter().next().unwrap_or_default())
}

async fn serve(front: Arc<Front>, visit: Visit, keys: String, socket: Socket) {
    let (mut sink, stream) = socket.split();
    let reason = match open(&front, &visit, keys).await {
        Ok(Sshd { _opened, input, output, complaint }) => tokio::select! {
            () = to_compute(stream, input) => return,
            sent = from_compute(&mut sink, output) => match sent {
                // It has not even greeted: who waits for it hears what it has said instead.
                Ok(0) => close_frame(CloseCode::Error, &complaint.await.unwrap_or_default()),
                Ok(_) => CloseFrame { code: CloseCode::Normal, reason: "".into() },
                Err(_) => return,
            },
            error = front.revoked(&visit) => close_frame(CloseCode::Policy, &error.message),
        },
        Err(problem) => close_frame(CloseCode::Error, &problem),
    };
    // Who is gone need not be told.
    let _gone = sink.send(Message::Close(Some(reason))).await;
}

/// An sshd for one connection. It ends when this is dropped.
struct Sshd {
    _opened: Opened,
    input: End,
    output: End,
    /// What it has complained of, once it has no more to say.
    complaint: JoinHandle<String>,
}

async fn open(front: &Front, visit: &Visit, keys: String) -> Result<Sshd, String> {
    let sshd = Process {
        command: ["/bin/sh", "-c", SSHD].map(str::to_owned).to_vec(),
        account: Account::User,
        environment: BTreeMap::from([("BASTIDE_SSH_KEYS".to_owned(), keys)]),
        directory: None,
        terminal: None,
    };
    let mut opened = front.networks.open(visit.compute, WayIn::Process(sshd)).await.map_err(|away| away.to_string())?;
    let mut ends = std::mem::take(&mut opened.ends).into_iter().map(End::new);
    let mut end = || match ends.next() {
        Some(end) => end.map_err(|error| error.to_string()),
        None => Err("the agent has not handed over the ends of the process".to_owned()),
    };
    let (input, output, mut errors) = (end()?, end()?, end()?);
    let compute = visit.compute;
    // Somebody must read it, or sshd waits.
    let complaint = tokio::spawn(async move {
        let (mut first, mut text) = (String::new(), vec![0; 1024]);
        while let Ok(length @ 1..) = errors.read(&mut text).await {
            let said = String::from_utf8_lossy(text.get(..length).unwrap_or_default()).into_owned();
            tracing::debug!(%compute, said, "sshd");
            if first.is_empty() {
                said.trim_end().clone_into(&mut first);
            }
        }
        first
    });
    Ok(Sshd { _opened: opened, input, output, complaint })
}

/// Ends when the client has no more.
async fn to_compute(mut stream: SplitStream<Socket>, mut input: End) {
    let mut is_read = true;
    while let Ok(Some(Ok(message))) = timeout(SILENCE, stream.next()).await {
        match message {
            // Who reads no more has ended, or is about to: what came of it is heard at the other end.
            Message::Binary(bytes) => is_read = is_read && input.write_all(&bytes).await.is_ok(),
            Message::Close(_) => return,
            _ => {}
        }
    }
}

/// Says how many messages there were.
async fn from_compute(
    sink: &mut SplitSink<Socket, Message>,
    mut output: End,
) -> Result<u64, tokio_tungstenite::tungstenite::Error> {
    let mut count = 0;
    let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    let mut buffer = vec![0; CHUNK];
    loop {
        let message = tokio::select! {
            read = output.read(&mut buffer) => match read {
                Ok(length @ 1..) => Message::binary(Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default())),
                Ok(0) | Err(_) => return Ok(count),
            },
            _ = heartbeat.tick() => Message::Ping(Bytes::new()),
        };
        count += u64::from(message.is_binary());
        sink.send(message).await?;
    }
}

/// A reason has at most 123 bytes (RFC 6455, section 5.5).
fn close_frame(code: CloseCode, reason: &str) -> CloseFrame {
    let mut end = reason.len().min(120);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    CloseFrame { code, reason: reason.get(..end).unwrap_or_default().to_owned().into() }
}

/// A public key that may log in for as long as the connection lasts.
const SSH_KEY: HeaderName = HeaderName::from_static("x-bastide-ssh-key");

/// An sshd for standard input and output. The compute's host key is made once and stays on its disk. Sessions have the
/// variables of the compute, which sshd would not hand on by itself. Files are named after what is in them, so that
/// connections at the same time do not change each other's.
const SSHD: &str = include_str!("sshd.sh");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_comes_along_is_one_key_and_nothing_else() {
        let of = |text: &str| key(&HeaderMap::from_iter([(SSH_KEY, text.parse().unwrap())]));
        let good = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGx7nYlq0hSXhY4T5S9vIu0M1b6nN9Wn3o6b3WZl1wQy mei@bastide";
        assert_eq!(of(good).unwrap(), good);
        assert_eq!(key(&HeaderMap::new()).unwrap(), "");
        for wrong in ["ssh-ed25519 AAAA", &format!("command=\"id\" {good}")] {
            assert_eq!(of(wrong).unwrap_err().status, 400, "{wrong}");
        }
    }

    #[test]
    fn a_reason_fits_into_a_frame() {
        let frame = close_frame(CloseCode::Error, &"ä".repeat(100));
        assert_eq!(frame.reason.len(), 120);
    }

    #[test]
    fn the_script_is_one_that_a_shell_reads() {
        let checked = std::process::Command::new("sh").args(["-n", "-c", SSHD]).status().unwrap();
        assert!(checked.success());
    }
}
