//! Connections to the hub's own addresses: private endpoints and services of Bastide's.

use std::net::Ipv4Addr;
use std::sync::Arc;

use bastide_plan::address::AddressClass;
use bastide_plan::flow::FlowKind;
use bastide_plan::hub_plan::Target;
use tokio::net::UnixStream;

use crate::arrival::Arrival;
use crate::connect;
use crate::socket::Socket;

/// Serves a connection to its end.
pub async fn serve(mut arrival: Arrival<'_>, address: Ipv4Addr, port: u16) {
    let view = arrival.view();
    let relay = view.policy.relay(address, port);
    let (rule, target) = (relay.and_then(|relay| relay.rule).cloned(), relay.and_then(|relay| relay.target).cloned());
    let filter = Arc::clone(&view.filter);
    drop(view);
    let Some(target) = target else {
        let reason = format!("Nothing stands behind {address} port {port}.");
        return arrival.refuse(FlowKind::Relay, None, rule, reason);
    };
    if let Err(full) = arrival.ticket.establish() {
        return arrival.refuse(FlowKind::Relay, None, rule, format!("Refused: {full}."));
    }
    let flow = arrival.begin(FlowKind::Relay, None, rule);
    match target {
        Target::Server => {
            let mut server = match UnixStream::connect(&arrival.thread.context.server_socket).await {
                Ok(stream) => stream,
                Err(error) => return flow.failed(format!("Bastide's server does not answer: {error}")),
            };
            if let Ok((sent, received)) = tokio::io::copy_bidirectional(&mut *arrival.client, &mut server).await {
                flow.sent(usize::try_from(sent).unwrap_or(usize::MAX));
                flow.received(usize::try_from(received).unwrap_or(usize::MAX));
                arrival.client.ended();
            }
        }
        Target::External { host, port, host_allowed } => {
            // The agent looks names up on the host's side, and writes what it finds in their place.
            let Ok(address) = host.parse::<Ipv4Addr>() else {
                return flow.failed(format!("{host} leads to no address yet, as the host's resolver has it."));
            };
            if let Some(class) = filter.refuses(address.into()).filter(|class| !is_admitted(*class, host_allowed)) {
                return flow.failed(format!("{address} is {class}."));
            }
            let connected = if address.is_loopback() {
                connect::to_host(&arrival.thread.context, address, port).await
            } else {
                connect::to_declared(address, port).await
            };
            let mut server = match connected {
                Ok(stream) => Socket::new(stream),
                Err(error) => return flow.failed(error.to_string()),
            };
            flow.connected(address);
            let carrier = &arrival.thread.carrier;
            if carrier.carry(&mut arrival.client, &mut server, &flow, None, Vec::new()).await.is_ok() {
                arrival.client.ended();
                server.ended();
            }
        }
    }
}

/// Whether a target that an administrator declared may be of a class that names never lead to: the private networks around
/// the host always, the host itself and its metadata service when an Owner said so.
fn is_admitted(class: AddressClass, host_allowed: bool) -> bool {
    match class {
        AddressClass::Private => true,
        AddressClass::Own | AddressClass::LinkLocal | AddressClass::Loopback => host_allowed,
        AddressClass::Special | AddressClass::Ipv6 => false,
    }
}
