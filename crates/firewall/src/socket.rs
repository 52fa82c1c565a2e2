//! A connection that ends abruptly unless it came to its end: who is cut off, or whose far side was reset, must not take
//! what has arrived for the whole.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A TCP connection that is reset when it is dropped, unless [`Socket::ended`] was said before.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    has_ended: bool,
}

impl Socket {
    /// Takes a connection.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, has_ended: false }
    }

    /// It has come to its end; what is still on its way arrives.
    pub fn ended(&mut self) {
        self.has_ended = true;
    }

    /// Says a last word, so that it arrives: whoever closes with unread bytes resets, and a reset overtakes words.
    pub async fn say_last(&mut self, words: &[u8]) {
        let said = async {
            self.stream.write_all(words).await?;
            self.stream.shutdown().await?;
            let mut left = MOST_DRAINED;
            let mut rest = [0; 1024];
            loop {
                match self.stream.read(&mut rest).await? {
                    0 => return std::io::Result::Ok(()),
                    count if count > left => return Ok(()),
                    count => left -= count,
                }
            }
        };
        // Who does not listen does not matter.
        let _ = tokio::time::timeout(PATIENCE, said).await;
        self.ended();
    }
}

impl Deref for Socket {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.stream
    }
}

impl DerefMut for Socket {
    fn deref_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if !self.has_ended {
            // A socket that cannot be told so is closed all the same.
            let _ = rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
        }
    }
}

/// How long a last word may take to be heard.
const PATIENCE: Duration = Duration::from_secs(1);
const MOST_DRAINED: usize = 64 << 10;
