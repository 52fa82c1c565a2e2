//! A registry on loopback, which answers what a test has put there and nothing else.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use bastide_image::digest::Digest;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

/// The registry. Its thread ends with the process.
pub struct Fake {
    /// `127.0.0.1:port`.
    pub host: String,
    /// The certificate in PEM that it is known by, if it speaks TLS.
    #[allow(dead_code, reason = "not every test that has a registry speaks TLS with it")]
    pub authority: Option<String>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    answers: BTreeMap<String, Answer>,
    wanted: Vec<Wanted>,
    heard: Vec<String>,
}

/// Whoever asks for a path that begins so, without this authorization, gets 401 and this challenge.
struct Wanted {
    path: String,
    authorization: String,
    challenge: String,
}

/// A status, headers, and a body.
type Answer = (u16, String, Vec<u8>);

impl Fake {
    pub fn start() -> Self {
        Self::serve(None)
    }

    /// One that speaks TLS, under a certificate of its own.
    #[allow(dead_code, reason = "not every test that has a registry speaks TLS with it")]
    pub fn start_with_tls() -> Self {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()).into();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key).unwrap();
        Self { authority: Some(own.cert.pem()), ..Self::serve(Some(Arc::new(config))) }
    }

    fn serve(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = match &tls {
                    Some(config) => {
                        let connection = ServerConnection::new(Arc::clone(config)).unwrap();
                        answer(&mut StreamOwned::new(connection, stream), &shared)
                    }
                    None => answer(&mut &stream, &shared),
                };
            }
        });
        Self { host, authority: None, state }
    }

    pub fn put(&self, path: &str, status: u16, headers: &str, body: &[u8]) {
        self.state.lock().unwrap().answers.insert(path.to_owned(), (status, headers.to_owned(), body.to_vec()));
    }

    /// Adds a blob, and describes it.
    pub fn blob(&self, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        self.put(&format!("/v2/team/image/blobs/{digest}"), 200, "", bytes);
        json!({"mediaType": "application/octet-stream", "digest": digest, "size": bytes.len()})
    }

    /// Adds a manifest or an index under its digest and a tag, and describes it.
    pub fn manifest(&self, tag: &str, document: &Value) -> Value {
        let bytes = document.to_string().into_bytes();
        let digest = Digest::of(&bytes);
        for name in [tag, &digest.to_string()] {
            self.put(&format!("/v2/team/image/manifests/{name}"), 200, "", &bytes);
        }
        json!({"mediaType": document["mediaType"], "digest": digest, "size": bytes.len()})
    }

    /// Adds an image of one layer, a tar file, that it has twice, under a tag.
    pub fn image(&self, tag: &str, layer: &[u8]) -> Value {
        let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {"Env": ["LANG=C"]},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(layer), Digest::of(layer)]},
        });
        let (config, layer) = (self.blob(config.to_string().as_bytes()), self.blob(layer));
        let media_type = "application/vnd.docker.distribution.manifest.v2+json";
        self.manifest(
            tag,
            &json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer, layer]}),
        )
    }

    /// From now on whoever asks for a path that begins so has to have this authorization, `Bearer` or `Basic` something.
    #[allow(dead_code, reason = "not every test that has a registry has to be let in")]
    pub fn want(&self, path: &str, authorization: &str, challenge: &str) {
        let [path, authorization, challenge] = [path, authorization, challenge].map(str::to_owned);
        let mut state = self.state.lock().unwrap();
        state.wanted.retain(|wanted| wanted.path != path);
        state.wanted.push(Wanted { path, authorization, challenge });
    }

    /// What was asked, `PATH` or `PATH with AUTHORIZATION`.
    pub fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().heard)
    }
}

/// One request per connection.
fn answer(stream: &mut (impl Read + Write), state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(&mut *stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut authorization = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        authorization = line.strip_prefix("authorization: ").map(str::to_owned).or(authorization);
    }
    let (status, headers, body) = {
        let mut state = state.lock().unwrap();
        state.heard.push(authorization.iter().fold(path.clone(), |path, given| format!("{path} with {given}")));
        let lacks =
            |wanted: &&Wanted| path.starts_with(&wanted.path) && authorization.as_ref() != Some(&wanted.authorization);
        match state.wanted.iter().find(lacks) {
            Some(wanted) => (401, format!("WWW-Authenticate: {}\r\n", wanted.challenge), Vec::new()),
            None => state.answers.get(&path).cloned().unwrap_or((404, String::new(), Vec::new())),
        }
    };
    let length = body.len();
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n")?;
    stream.write_all(&body)?;
    stream.flush()
}
