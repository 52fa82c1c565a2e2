//! `bastide ml compute connect-ssh`: the host's own ssh, through the API. No port of the compute is open to anybody.
//!
//! The compute lets in whom the API lets through: the public key of this command travels with the connection, which is
//! authorised like every request. So no key need be stored in the compute, though one that is works as well.

use std::env;
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Command, ExitCode};
use std::time::Duration;

use bastide_server::exec_frame::CHUNK;
use bytes::Bytes;
use clap::Args;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Named;
use super::session::{SessionError, close, connect};
use crate::Outcome;
use crate::shell::quote;

#[derive(Debug, Args)]
pub(super) struct ConnectSsh {
    #[command(flatten)]
    named: Named,
    /// The private key to log in with [default: one that is made for this purpose].
    #[arg(long, short = 'f', value_name = "FILE")]
    private_key_file_path: Option<PathBuf>,
    /// Print what belongs into ssh's configuration, for scp, rsync, VS Code and others, and do not connect.
    #[arg(long)]
    print_config: bool,
    /// Carry a connection over standard input and output: what ssh runs as its `ProxyCommand`.
    #[arg(long, hide = true)]
    proxy: bool,
    /// More arguments for ssh, such as -L 8080:localhost:8080, or a command.
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

/// What keeps ssh from being started.
#[derive(Debug, thiserror::Error)]
enum SshError {
    #[error("there is no HOME to keep a key in: name one with --private-key-file-path")]
    NoHome,
    #[error("cannot use {}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cannot run {program}: {source}. Install the OpenSSH client")]
    Program { program: &'static str, source: io::Error },
    #[error("ssh-keygen could not make a key at {}", .0.display())]
    NoKey(PathBuf),
}

impl ConnectSsh {
    pub(super) async fn run(&self) -> Outcome {
        let place = Files::find()?;
        if self.proxy {
            return self.carry(&place).await;
        }
        let key = match &self.private_key_file_path {
            Some(key) => absolute(key)?,
            None => place.key()?,
        };
        let compute = self.named.place.open().await?.compute(&self.named.name).await?;
        let options = self.options(&compute, &key, &place)?;
        if self.print_config {
            print!("{}", configuration(&options.alias, &options.lines));
            return Ok(ExitCode::SUCCESS);
        }
        let mut ssh = Command::new("ssh");
        for (name, value) in &options.lines {
            ssh.arg("-o").arg(format!("{name}={value}"));
        }
        // Whatever stands after the host's name is a command: options come before it.
        let is_option = |argument: &&OsString| argument.to_string_lossy().starts_with('-');
        match self.arguments.first().filter(is_option) {
            Some(_) => ssh.args(&self.arguments).arg(&options.alias),
            None => ssh.arg(&options.alias).args(&self.arguments),
        };
        Err(SshError::Program { program: "ssh", source: ssh.exec() }.into())
    }

    /// Bytes from standard input to the compute and back, until either has no more.
    async fn carry(&self, place: &Files) -> Outcome {
        let mut headers = HeaderMap::new();
        let private = self.private_key_file_path.as_ref().unwrap_or(&place.private_key);
        // Without its public half beside it, a key must be one that the compute knows already.
        if let Ok(public) = fs::read_to_string(private.with_added_extension("pub"))
            && let Ok(value) = HeaderValue::from_str(public.trim())
        {
            headers.insert(SSH_KEY, value);
        }
        let workspace = self.named.place.open().await?;
        let (sink, stream) = connect(&workspace, &self.named.name, "ssh", headers).await.map_err(SessionError::told)?;
        let mut receive = pin!(receive(stream));
        tokio::select! {
            received = &mut receive => received?,
            sent = send_input(sink) => match sent {
                Ok(()) => {}
                // Who has closed the connection has said why before.
                Err(error) => match timeout(LAST_WORDS, receive).await {
                    Ok(said) => said?,
                    Err(_) => return Err(error.told()),
                },
            },
        }
        Ok(ExitCode::SUCCESS)
    }

    fn options(&self, compute: &Value, key: &Path, place: &Files) -> Result<Options, SshError> {
        let user = compute.pointer("/properties/properties/sshSettings/adminUserName").and_then(Value::as_str);
        let alias = alias(compute).unwrap_or_else(|| self.named.name.clone());
        let lines = vec![
            ("User", user.unwrap_or("azureuser").to_owned()),
            ("IdentityFile", key.display().to_string()),
            ("IdentitiesOnly", "yes".to_owned()),
            // Who is at the other end the API has made sure of; the key of a host that changes later is still told.
            ("StrictHostKeyChecking", "accept-new".to_owned()),
            ("HostKeyAlias", alias.clone()),
            ("UserKnownHostsFile", place.known_hosts.display().to_string()),
            ("ProxyCommand", self.proxy_command(key)?),
        ];
        Ok(Options { alias, lines })
    }

    fn proxy_command(&self, key: &Path) -> Result<String, SshError> {
        let program = env::current_exe().map_err(|source| SshError::File { path: "this program".into(), source })?;
        let place = &self.named.place;
        let mut words = vec![program.display().to_string()];
        words.extend(["ml", "compute", "connect-ssh", "--proxy"].map(str::to_owned));
        words.extend(["--name".to_owned(), self.named.name.clone()]);
        words.extend(["--workspace-name".to_owned(), place.workspace_name.clone()]);
        words.extend(["--resource-group".to_owned(), place.resource_group.clone()]);
        words.extend(["--private-key-file-path".to_owned(), key.display().to_string()]);
        if let Some(subscription) = place.subscription {
            words.extend(["--subscription".to_owned(), subscription.to_string()]);
        }
        if let Some(directory) = &place.data_dir {
            words.extend(["--data-dir".to_owned(), absolute(directory)?.display().to_string()]);
        }
        // ssh gives it to a shell, after it has replaced what stands behind percent signs.
        Ok(words.iter().map(|word| quote(word).replace('%', "%%")).collect::<Vec<_>>().join(" "))
    }
}

/// Under which name ssh knows the compute, and how it gets there.
struct Options {
    alias: String,
    lines: Vec<(&'static str, String)>,
}

/// The host of its applications, which no other compute ever has, not even one of the same name.
fn alias(compute: &Value) -> Option<String> {
    let address = compute.pointer("/properties/properties/applications/0/endpointUri")?.as_str()?;
    Some(url::Url::parse(address).ok()?.host_str()?.to_owned())
}

fn configuration(alias: &str, lines: &[(&'static str, String)]) -> String {
    let lines = lines.iter().map(|(name, value)| {
        let value = if value.contains(' ') && *name != "ProxyCommand" { format!("\"{value}\"") } else { value.clone() };
        format!("    {name} {value}\n")
    });
    format!("Host {alias}\n{}", lines.collect::<String>())
}

/// Carries what comes from the compute to standard output.
async fn receive(mut stream: impl Stream<Item = Result<Message, Error>> + Unpin) -> Result<(), SessionError> {
    let mut output = tokio::io::stdout();
    while let Some(message) = stream.next().await {
        match message? {
            Message::Binary(bytes) => {
                output.write_all(&bytes).await?;
                output.flush().await?;
            }
            Message::Close(Some(frame)) if frame.code != CloseCode::Normal => {
                return Err(SessionError::Closed(frame.reason.to_string()));
            }
            _ => {}
        }
    }
    Ok(())
}

async fn send_input(mut sink: impl Sink<Message, Error = Error> + Unpin) -> Result<(), SessionError> {
    let mut input = tokio::io::stdin();
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = input.read(&mut buffer).await?;
        if length == 0 {
            close(sink).await;
            return Ok(());
        }
        let bytes = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
        sink.send(Message::binary(bytes)).await?;
    }
}

/// Where this command keeps a key of its own, and the keys of computes.
struct Files {
    directory: PathBuf,
    private_key: PathBuf,
    known_hosts: PathBuf,
}

impl Files {
    fn find() -> Result<Self, SshError> {
        let state = env::var_os("XDG_STATE_HOME").filter(|path| Path::new(path).is_absolute()).map(PathBuf::from);
        let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".local/state"));
        let directory = state.or_else(home).ok_or(SshError::NoHome)?.join("bastide/ssh");
        Ok(Self { private_key: directory.join("id_ed25519"), known_hosts: directory.join("known_hosts"), directory })
    }

    /// The private key, made once.
    fn key(&self) -> Result<PathBuf, SshError> {
        if self.private_key.exists() {
            return Ok(self.private_key.clone());
        }
        let failed = |source| SshError::File { path: self.directory.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory).map_err(failed)?;
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "bastide", "-f"]).arg(&self.private_key);
        let made = keygen.status().map_err(|source| SshError::Program { program: "ssh-keygen", source })?;
        if made.success() { Ok(self.private_key.clone()) } else { Err(SshError::NoKey(self.private_key.clone())) }
    }
}

fn absolute(path: &Path) -> Result<PathBuf, SshError> {
    std::path::absolute(path).map_err(|source| SshError::File { path: path.to_owned(), source })
}

/// A public key that may log in for as long as the connection lasts.
const SSH_KEY: HeaderName = HeaderName::from_static("x-bastide-ssh-key");

/// For what was said before the connection was closed.
const LAST_WORDS: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_compute_is_known_by_a_name_that_no_other_ever_has() {
        let address = "https://ci-1-0a1b2c3d.instances.bastide.localhost:8443/lab";
        let compute = json!({"properties": {"properties": {"applications": [{"endpointUri": address}]}}});
        assert_eq!(alias(&compute).as_deref(), Some("ci-1-0a1b2c3d.instances.bastide.localhost"));
        assert_eq!(alias(&json!({})), None);
    }

    #[test]
    fn the_configuration_is_one_that_ssh_reads() {
        let lines = [("User", "azureuser".to_owned()), ("IdentityFile", "/home/m ei/key".to_owned())];
        let expected = "Host ci\n    User azureuser\n    IdentityFile \"/home/m ei/key\"\n";
        assert_eq!(configuration("ci", &lines), expected);
    }
}
