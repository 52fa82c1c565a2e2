//! The end of something inside a compute that the agent has handed over: a pipe, a socket, a terminal.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// An end to read from and to write to, as far as it can be.
#[derive(Debug)]
pub(crate) struct End(AsyncFd<OwnedFd>);

impl End {
    /// Of a descriptor that does not block. Must be called where tasks run.
    pub(crate) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        // SAFETY: an owned descriptor stays open, and the same, for as long as its owner, which is what is registered.
        Ok(Self(unsafe { AsyncFd::register(descriptor) }?))
    }
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(context))?;
            let read = ready.try_io(|end| match rustix::io::read(end.get_ref(), buffer.initialize_unfilled()) {
                // So does a terminal say that nobody is at its other end any more.
                Err(Errno::IO) => Ok(0),
                read => Ok(read?),
            });
            if let Ok(read) = read {
                return Poll::Ready(read.map(|length| buffer.advance(length)));
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(context))?;
            if let Ok(written) = ready.try_io(|end| Ok(rustix::io::write(end.get_ref(), bytes)?)) {
                return Poll::Ready(written);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match shutdown(self.0.get_ref(), Shutdown::Write) {
            // What is no socket ends when it is closed.
            Err(Errno::NOTSOCK | Errno::NOTCONN) => Ok(()),
            done => Ok(done?),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn bytes_go_both_ways_until_an_end_has_no_more() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        for stream in [&ours, &theirs] {
            stream.set_nonblocking(true).unwrap();
        }
        let (mut ours, mut theirs) = (End::new(ours.into()).unwrap(), End::new(theirs.into()).unwrap());
        // More than a socket takes at once.
        let sent = vec![7; 1 << 20];
        let expected = sent.clone();
        let sending = tokio::spawn(async move {
            ours.write_all(&sent).await.unwrap();
            ours.shutdown().await.unwrap();
            let mut answer = Vec::new();
            ours.read_to_end(&mut answer).await.unwrap();
            answer
        });
        let mut received = Vec::new();
        theirs.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, expected);
        theirs.write_all(b"seen").await.unwrap();
        drop(theirs);
        assert_eq!(sending.await.unwrap(), b"seen");
    }
}
