//! Bytes from one socket to another without a copy (splice(2)).

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// The pipes of one thread: made when needed, shared by all its flows, since a flow needs one only between two waits.
#[derive(Debug, Default)]
pub struct Pipes {
    idle: RefCell<Vec<Pipe>>,
    /// Held by each large pipe there is.
    large: Rc<()>,
    /// Bytes carried since the thread's other flows had their turn.
    turn: Cell<usize>,
}

/// A pipe without anything in it, until bytes are on their way.
#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    large: Option<Rc<()>>,
}

impl Pipes {
    /// Carries at most `limit` bytes that are there, or come next, from one socket to the other; how many, 0 at the end.
    pub async fn carry(&self, from: &TcpStream, to: &TcpStream, limit: u64) -> io::Result<usize> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(LARGE);
        loop {
            let pipe = self.take()?;
            // The pipe is empty: when nothing goes in, nothing was there.
            match from.try_io(Interest::READABLE, || push(from, &pipe.write, limit)) {
                Ok(count) => {
                    let mut left = count;
                    while left > 0 {
                        left -= to.async_io(Interest::WRITABLE, || pull(&pipe.read, to, left)).await?;
                    }
                    self.put(pipe);
                    self.give_way(count).await;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.put(pipe),
                Err(error) => return Err(error),
            }
            from.readable().await?;
        }
    }

    /// A stream that never pauses must not keep the other flows of its thread waiting.
    async fn give_way(&self, count: usize) {
        self.turn.set(self.turn.get() + count);
        if self.turn.get() >= TURN {
            self.turn.set(0);
            tokio::task::yield_now().await;
        }
    }

    fn take(&self) -> io::Result<Pipe> {
        if let Some(pipe) = self.idle.borrow_mut().pop() {
            return Ok(pipe);
        }
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Without the room it is slower, not wrong: the kernel grants a user so much memory for pipes and no more.
        let is_large = Rc::strong_count(&self.large) <= MOST_LARGE && fcntl_setpipe_size(&write, LARGE).is_ok();
        if !is_large {
            let _ = fcntl_setpipe_size(&write, USUAL);
        }
        Ok(Pipe { read, write, large: is_large.then(|| Rc::clone(&self.large)) })
    }

    fn put(&self, pipe: Pipe) {
        let mut idle = self.idle.borrow_mut();
        // The large ones are taken first.
        let place = if pipe.large.is_some() { idle.len() } else { 0 };
        if idle.len() < MOST_IDLE {
            idle.insert(place, pipe);
        }
    }
}

fn push(from: &TcpStream, pipe: &OwnedFd, limit: usize) -> io::Result<usize> {
    Ok(splice(from.as_fd(), None, pipe, None, limit, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)?)
}

/// More follows when more is in the pipe than is taken: the kernel may wait for it to fill a segment.
fn pull(pipe: &OwnedFd, to: &TcpStream, left: usize) -> io::Result<usize> {
    Ok(splice(pipe, None, to.as_fd(), None, left, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)?)
}

/// Bytes of the first pipes, and what is carried at once at most. Each step of a stream costs the same whatever it carries,
/// acknowledgements included, and a third less in all than with [`USUAL`].
const LARGE: usize = 1 << 20;
/// As many as are busy at once unless receivers are slow, and a quarter of what the kernel grants a user in four threads
/// (`fs.pipe-user-pages-soft`, 64 MiB).
const MOST_LARGE: usize = 4;
/// Bytes of the other pipes.
const USUAL: usize = 256 << 10;
/// Bytes that are carried before others get their turn: a millisecond or two.
const TURN: usize = 4 << 20;
const MOST_IDLE: usize = 16;

#[cfg(test)]
mod tests {
    use rustix::pipe::fcntl_getpipe_size;

    use super::*;

    fn size(pipe: &Pipe) -> usize {
        fcntl_getpipe_size(&pipe.write).unwrap()
    }

    #[test]
    fn a_few_pipes_are_large_and_are_taken_first() {
        let pipes = Pipes::default();
        let mut taken: Vec<_> = (0..=MOST_LARGE).map(|_| pipes.take().unwrap()).collect();
        let usual = taken.pop().unwrap();
        assert_eq!(taken.iter().map(size).collect::<Vec<_>>(), [LARGE; MOST_LARGE]);
        assert_eq!(size(&usual), USUAL);
        pipes.put(taken.pop().unwrap());
        pipes.put(usual);
        assert_eq!(size(&pipes.take().unwrap()), LARGE);
    }

    #[test]
    fn a_large_pipe_that_went_with_its_flow_makes_room_for_another() {
        let pipes = Pipes::default();
        let taken: Vec<_> = (0..MOST_LARGE).map(|_| pipes.take().unwrap()).collect();
        drop(taken);
        assert_eq!(size(&pipes.take().unwrap()), LARGE);
    }
}
