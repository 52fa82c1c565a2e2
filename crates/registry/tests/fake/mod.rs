//! A registry on loopback, which answers what a test has put there and nothing else.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use bastide_image::digest::Digest;
use serde_json::{Value, json};

/// The registry. Its thread ends with the process.
pub struct Fake {
    /// `127.0.0.1:port`.
    pub host: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    answers: BTreeMap<String, Answer>,
    /// Whoever lacks it gets 401, with this challenge.
    wanted: Option<(String, String)>,
    heard: Vec<String>,
}

/// A status, headers, and a body.
type Answer = (u16, String, Vec<u8>);

impl Fake {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream, &shared);
            }
        });
        Self { host, state }
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

    /// From now on a token is wanted, to be had at the realm.
    #[allow(dead_code, reason = "not every test that has a registry has tokens")]
    pub fn want(&self, token: &str, realm: &str) {
        self.state.lock().unwrap().wanted = Some((token.to_owned(), realm.to_owned()));
    }

    /// What was asked, `PATH` or `PATH with TOKEN`.
    pub fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().heard)
    }
}

/// One request per connection.
fn answer(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut token = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        token = line.strip_prefix("authorization: Bearer ").map(str::to_owned).or(token);
    }
    let mut state = state.lock().unwrap();
    state.heard.push(token.iter().fold(path.clone(), |path, token| format!("{path} with {token}")));
    let is_let_in = state.wanted.as_ref().is_none_or(|(wanted, _)| token.as_ref() == Some(wanted));
    let (status, headers, body) = if !is_let_in && path.starts_with("/v2/") {
        let realm = state.wanted.as_ref().map(|(_, realm)| realm.as_str()).unwrap_or_default();
        (401, format!("WWW-Authenticate: {realm}\r\n"), Vec::new())
    } else {
        state.answers.get(&path).cloned().unwrap_or((404, String::new(), Vec::new()))
    };
    drop(state);
    let mut stream = stream;
    let length = body.len();
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n")?;
    stream.write_all(&body)
}
