//! What a peer that speaks plain http to the https port is told.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What the first byte of a connection says about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FirstByte {
    /// A TLS record that holds a handshake message.
    Tls,
    /// A method name: plain http.
    Http,
    /// The peer left, or speaks neither.
    Other,
}

impl FirstByte {
    /// Waits for the first byte without taking it.
    pub(super) async fn peek(stream: &TcpStream) -> io::Result<Self> {
        let mut byte = [0];
        Ok(match (stream.peek(&mut byte).await?, byte) {
            (0, _) => Self::Other,
            (_, [TLS_HANDSHAKE]) => Self::Tls,
            (_, [b'A'..=b'Z' | b'a'..=b'z']) => Self::Http,
            _ => Self::Other,
        })
    }
}

/// Answers 400 with a sentence that names the right address, and closes.
pub(super) async fn refuse(mut stream: TcpStream, origin: &str) -> io::Result<()> {
    // Closing with unread bytes would reset the connection and could take the answer with it.
    let _ = timeout(DRAIN, read_head(&mut stream)).await;
    let text = format!("This is an https port: use {origin}\n");
    let length = text.len();
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(format!("{head}{text}").as_bytes()).await?;
    stream.shutdown().await?;
    let _ = timeout(DRAIN, tokio::io::copy(&mut (&mut stream).take(DRAIN_BYTES), &mut tokio::io::sink())).await;
    Ok(())
}

/// Reads to the empty line that ends the head, the end of the stream, or the most a head may be.
async fn read_head(stream: &mut TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(stream.take(HEAD_BYTES));
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).await? > 0 && !matches!(line.as_slice(), b"\r\n" | b"\n") {
        line.clear();
    }
    Ok(())
}

/// RFC 8446 section 5.1: content type `handshake`.
const TLS_HANDSHAKE: u8 = 22;

const HEAD_BYTES: u64 = 16 * 1024;

const DRAIN: Duration = Duration::from_secs(1);

const DRAIN_BYTES: u64 = 64 * 1024;
