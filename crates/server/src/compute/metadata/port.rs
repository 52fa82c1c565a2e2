//! Connections from inside of one instance, and what they may take: they get no place of anybody else's.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::machine::Machine;
use super::{answer, describe};

pub(super) fn listener(socket: OwnedFd) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Serves until dropped.
pub(super) async fn serve(listener: TcpListener, machine: Arc<Machine>) {
    let router = router(machine);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_headers(MOST_FIELDS).max_buf_size(LONGEST_HEAD);
    let http = Arc::new(http);
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (http, router) = (Arc::clone(&http), router.clone());
                connections.spawn(async move {
                    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
                    let _what_a_peer_does_wrong_is_its_own = tokio::time::timeout(LIFE, connection).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!("a question to a metadata service could not be accepted: {error}");
                tokio::time::sleep(HEAD / 100).await;
            }
        }
    }
}

pub(super) fn router(machine: Arc<Machine>) -> Router {
    Router::new()
        .route("/metadata/identity/oauth2/token", get(answer::token))
        .route("/metadata/identity/info", get(answer::info))
        .route("/metadata/instance", get(describe::all))
        .route("/metadata/instance/{*path}", get(describe::part))
        .route("/metadata/versions", get(describe::versions))
        .route("/msi/token", get(answer::azureml_token))
        .fallback(answer::unknown)
        .with_state(machine)
}

/// The clients take one, and for a moment.
const MOST_CONNECTIONS: usize = 16;
const MOST_FIELDS: usize = 50;
const LONGEST_HEAD: usize = 16 * 1024;
const HEAD: Duration = Duration::from_secs(5);
const LIFE: Duration = Duration::from_mins(1);
