//! One of the threads that carry connections. They share what they read and nothing that they write; what arrives is
//! spread over them by the kernel (`SO_REUSEPORT`).

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bastide_plan::flow::FlowRecord;
use bastide_plan::worker::Purpose;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use crate::admission::{Admission, Limits};
use crate::arrival::Arrival;
use crate::carry::Carrier;
use crate::context::Context;
use crate::live::{LiveFlows, Origin};
use crate::socket::Socket;
use crate::switch::Switch;
use crate::view::View;
use crate::{http, relay, tls};

/// What a thread holds for all its connections.
#[derive(Debug)]
pub struct Thread {
    /// What it shares with the others.
    pub context: Context,
    /// What it carries.
    pub live: Rc<LiveFlows>,
    /// Buffer and pipes.
    pub carrier: Carrier,
    admission: Rc<Admission>,
}

/// Tells a thread what to do. The thread ends when this is dropped, and everything that it carries with it.
#[derive(Debug)]
pub struct ThreadHandle {
    commands: mpsc::UnboundedSender<Command>,
}

#[derive(Debug)]
enum Command {
    Listen(Purpose, StdListener),
    Enforce(Arc<View>, oneshot::Sender<()>),
    Records(oneshot::Sender<Vec<FlowRecord>>),
}

impl ThreadHandle {
    /// Starts a thread that takes a share of `limits`.
    pub fn start(number: usize, context: Context, limits: Limits) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (commands, receiver) = mpsc::unbounded_channel();
        let run = move || LocalSet::new().block_on(&runtime, Thread::run(context, limits, receiver));
        std::thread::Builder::new().name(format!("carry-{number}")).stack_size(STACK).spawn(run)?;
        Ok(Self { commands })
    }

    /// Takes connections from a listener.
    pub fn listen(&self, purpose: Purpose, listener: StdListener) {
        // No thread goes before the process: a panic ends that.
        let _ = self.commands.send(Command::Listen(purpose, listener));
    }

    /// Ends what `view` does not let through; done when the receiver hears of it.
    pub fn enforce(&self, view: Arc<View>) -> oneshot::Receiver<()> {
        let (done, answer) = oneshot::channel();
        let _ = self.commands.send(Command::Enforce(view, done));
        answer
    }

    /// The records of what is being carried.
    pub fn records(&self) -> oneshot::Receiver<Vec<FlowRecord>> {
        let (records, answer) = oneshot::channel();
        let _ = self.commands.send(Command::Records(records));
        answer
    }
}

impl Thread {
    async fn run(context: Context, limits: Limits, mut commands: mpsc::UnboundedReceiver<Command>) {
        let live = Rc::new(LiveFlows::new(Arc::clone(&context.log), Arc::clone(&context.clock)));
        let admission = Rc::new(Admission::new(limits));
        let thread = Rc::new(Self { context, live, carrier: Carrier::default(), admission });
        let mut listeners = Vec::new();
        while let Some(command) = commands.recv().await {
            match command {
                Command::Listen(purpose, listener) => {
                    let listening = tokio::task::spawn_local(Rc::clone(&thread).listen(purpose, listener));
                    listeners.push((purpose, listening));
                }
                Command::Enforce(view, done) => {
                    listeners.retain(|(purpose, listening)| {
                        is_wanted(*purpose, &view) || {
                            listening.abort();
                            false
                        }
                    });
                    let thread = Rc::clone(&thread);
                    tokio::task::spawn_local(async move {
                        thread.live.enforce(&view).await;
                        let _ = done.send(());
                    });
                }
                Command::Records(records) => {
                    let _ = records.send(thread.live.records());
                }
            }
        }
    }

    async fn listen(self: Rc<Self>, purpose: Purpose, listener: StdListener) {
        let listener = match prepare(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, ?purpose, "a listener cannot be used"),
        };
        loop {
            match listener.accept().await {
                Ok((client, source)) => {
                    // A task is aligned to cache lines, and glibc does not find the room of a large aligned block again
                    // for the next one (memalign): after a minute of load that were eight megabytes. A box is found again.
                    tokio::task::spawn_local(Box::pin(Rc::clone(&self).serve(purpose, client, source)));
                }
                // Out of descriptors: connections wait in the kernel until some have ended. Or one that was reset
                // before it was taken.
                Err(error) => {
                    tracing::debug!(%error, "a connection was not taken");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    async fn serve(self: Rc<Self>, purpose: Purpose, client: TcpStream, source: SocketAddr) {
        let client = Socket::new(client);
        let (SocketAddr::V4(source), Ok(SocketAddr::V4(to))) = (source, client.local_addr()) else { return };
        let leg = self.context.view.load().and_then(|view| view.leg(*source.ip()).cloned());
        let Some(leg) = leg else { return };
        let origin = Origin {
            at: self.context.clock.millis(),
            start: self.context.clock.instant(),
            compute: Some(leg.name),
            project: leg.project,
            source: *source.ip(),
            address: *to.ip(),
            port: to.port(),
        };
        let switch = Rc::new(Switch::default());
        let ticket = self.admission.admit(origin.source, Rc::clone(&switch));
        let arrival = Arrival { thread: &self, origin, client, ticket, switch: Rc::clone(&switch) };
        let served = async {
            match purpose {
                Purpose::Tls => tls::serve(arrival).await,
                Purpose::Http => http::serve(arrival).await,
                Purpose::Relay { address, port } => relay::serve(arrival, address, port).await,
                Purpose::DnsUdp | Purpose::DnsTcp => {}
            }
        };
        // What is being served is dropped with all its sockets, which resets them.
        tokio::select! {
            biased;
            _ = switch.wait() => {}
            () = served => {}
        }
    }
}

/// Whether a plan has something at a listener. One that it has not is closed, so that its address is free again.
fn is_wanted(purpose: Purpose, view: &View) -> bool {
    match purpose {
        Purpose::Relay { address, port } => view.policy.relay(address, port).is_some(),
        Purpose::Tls | Purpose::Http | Purpose::DnsUdp | Purpose::DnsTcp => true,
    }
}

/// Sets what accepted connections inherit: no delay, a probe for clients that are gone, and no pacing.
fn prepare(listener: StdListener) -> io::Result<TcpListener> {
    sockopt::set_tcp_nodelay(&listener, true)?;
    sockopt::set_socket_keepalive(&listener, true)?;
    sockopt::set_tcp_keepidle(&listener, KEEPALIVE)?;
    // A leg is memory of this machine, which nothing congests: what the host has chosen for the internet, such as BBR with
    // its timers, would only cost time here. Without it is slower, not wrong.
    let _ = sockopt::set_tcp_congestion(&listener, LEG_CONGESTION);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// How long a client may be silent before it is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_mins(1);
/// In every kernel, and allowed to everybody (tcp(7)).
const LEG_CONGESTION: &str = "reno";
/// Nothing here recurses.
const STACK: usize = 256 << 10;
const BREATH: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_comes_from_a_leg_is_neither_delayed_nor_paced() {
        let listener = prepare(StdListener::bind(("127.0.0.1", 0)).unwrap()).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        assert_eq!(sockopt::tcp_congestion(&accepted).unwrap(), LEG_CONGESTION);
        assert!(accepted.nodelay().unwrap() && sockopt::socket_keepalive(&accepted).unwrap());
    }
}
