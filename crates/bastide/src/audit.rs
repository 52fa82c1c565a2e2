//! `bastide audit ...`: take the audit chain out, and prove that nobody has changed it. And the keeper that signs it while
//! a server runs.

mod chain;
mod key_file;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use bastide_arm::clock::Clock;
use bastide_audit::export::{self, ExportError};
use bastide_audit::{Broken, Intact, VerifyingKey};
use bastide_server::{AuditKeeper, KeeperError};
use bastide_store::AuditNote;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::Outcome;
use crate::configuration::Configuration;
use crate::data_directory::DataDirectory;
use crate::founding::Founded;
use crate::output::Format;
use chain::Chain;
use key_file::{KeyFile, KeyFileError};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prove that no entry was changed, removed or put in between; exit with 1 and the first bad entry otherwise.
    Verify(Verify),
    /// Write the chain with its signed checkpoints as JSON lines, to be kept and verified elsewhere.
    Export(Export),
    /// Print the public half of the key that signs checkpoints: what verifies an export.
    Key(Place),
}

#[derive(Debug, Args)]
struct Verify {
    #[command(flatten)]
    place: Place,
    /// Verify this export instead of a data directory.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The key to believe, in a file or as 'bastide audit key' prints it [default: the data directory's, the export's].
    #[arg(long, value_name = "FILE|KEY")]
    public_key: Option<String>,
    /// A file of checkpoints kept elsewhere, which the chain must agree with too.
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    checkpoints: Vec<PathBuf>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
struct Export {
    #[command(flatten)]
    place: Place,
    /// Where to write [default: standard output].
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Where the chain is. A server may be running on it.
#[derive(Debug, Args)]
struct Place {
    /// The data directory of a local Bastide.
    #[arg(long, env = "BASTIDE_DATA_DIR", hide_env_values = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Its settings file [default: bastide.toml in the data directory].
    #[arg(long, env = "BASTIDE_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Its PostgreSQL database, when it has one.
    #[arg(long, env = "BASTIDE_DATABASE", hide_env_values = true, value_name = "URL")]
    database: Option<String>,
}

/// What a walk found, and with which key.
type Verdict = Result<Intact, Broken>;

/// What keeps a chain from being looked at.
#[derive(Debug, thiserror::Error)]
enum AuditError {
    #[error("cannot use {}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} is not a file of checkpoints: line {line} reads otherwise", .path.display())]
    Checkpoints { path: PathBuf, line: usize },
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match &arguments.command {
        Command::Verify(arguments) => runtime.block_on(verify(arguments)),
        Command::Export(arguments) => runtime.block_on(take_out(arguments)),
        Command::Key(place) => {
            println!("{}", Chain::find(place)?.key()?.public());
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn verify(arguments: &Verify) -> Outcome {
    let given = arguments.public_key.as_deref().map(read_key).transpose()?;
    let is_given = given.is_some();
    let (key, verdict) = match &arguments.file {
        Some(file) => {
            let open = || File::open(file).map(BufReader::new);
            let unusable = |source| AuditError::File { path: file.clone(), source };
            let key = match given {
                Some(key) => key,
                None => export::key_of(open().map_err(unusable)?)?,
            };
            let verdict = match export::verify(open, &key) {
                Ok(intact) => Ok(intact),
                Err(ExportError::Broken(broken)) => Err(broken),
                Err(other) => return unreadable(&arguments.format, &other),
            };
            (key, verdict)
        }
        None => {
            let chain = Chain::find(&arguments.place)?;
            let key = match given {
                Some(key) => key,
                None => chain.key()?.public().clone(),
            };
            let mut elsewhere = Vec::new();
            for file in &arguments.checkpoints {
                elsewhere.extend(read_checkpoints(file)?);
            }
            (key.clone(), chain.open()?.verify(&key, &elsewhere).await?)
        }
    };
    let is_trusted = is_given || arguments.file.is_none();
    arguments.format.show(&as_json(&key, &verdict), |_| told(&key, is_trusted, &verdict))?;
    Ok(if verdict.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// An export with a line that is none was touched: that is an answer, not a failure to answer.
fn unreadable(format: &Format, error: &ExportError) -> Outcome {
    let answer = json!({"intact": false, "problem": error.to_string()});
    format.show(&answer, |_| format!("BROKEN: {error}.\n"))?;
    Ok(ExitCode::FAILURE)
}

fn told(key: &VerifyingKey, is_trusted: bool, verdict: &Verdict) -> String {
    let Intact { begun, head, covered } = match verdict {
        Ok(intact) => intact,
        Err(broken) => return format!("BROKEN at entry {}: {broken}.\n", broken.seq),
    };
    let mut told = format!("INTACT: entries {} to {}, head {}.\n", begun + 1, head.seq, head.hash);
    if *begun > 0 {
        told += "Older entries were cut off on purpose; the cut is signed.\n";
    }
    if *covered < head.seq {
        told += &format!("Signed up to entry {covered}; a tail cut off behind it would not show.\n");
    }
    if !is_trusted {
        told += &format!("Checked with the key in the file, {key}: compare it with what 'bastide audit key' prints.\n");
    }
    told
}

fn as_json(key: &VerifyingKey, verdict: &Verdict) -> Value {
    match verdict {
        Ok(Intact { begun, head, covered }) => json!({
            "intact": true,
            "from": begun + 1,
            "to": head.seq,
            "head": head.hash,
            "signedTo": covered,
            "key": key.to_string(),
        }),
        Err(broken) => {
            json!({"intact": false, "entry": broken.seq, "problem": broken.to_string(), "key": key.to_string()})
        }
    }
}

async fn take_out(arguments: &Export) -> Outcome {
    let chain = Chain::find(&arguments.place)?;
    let to: Box<dyn Write> = match &arguments.file {
        Some(path) => {
            let file = key_file::private().create(true).truncate(true).open(path);
            Box::new(file.map_err(|source| AuditError::File { path: path.clone(), source })?)
        }
        None => Box::new(io::stdout()),
    };
    chain.export(BufWriter::new(to)).await?;
    Ok(ExitCode::SUCCESS)
}

/// A key, or the file that holds one.
fn read_key(text: &str) -> Result<VerifyingKey, Box<dyn std::error::Error>> {
    let path = Path::new(text);
    match path.exists() {
        true => {
            let text = std::fs::read_to_string(path);
            Ok(text.map_err(|source| AuditError::File { path: path.to_owned(), source })?.parse()?)
        }
        false => Ok(text.parse()?),
    }
}

fn read_checkpoints(path: &Path) -> Result<Vec<AuditNote>, AuditError> {
    #[derive(Deserialize)]
    struct Line {
        seq: i64,
        checkpoint: String,
    }
    let text = std::fs::read_to_string(path).map_err(|source| AuditError::File { path: path.to_owned(), source })?;
    let read = |(line, text): (usize, &str)| {
        let Line { seq, checkpoint } =
            serde_json::from_str(text).map_err(|_| AuditError::Checkpoints { path: path.to_owned(), line })?;
        Ok(AuditNote { seq, note: checkpoint })
    };
    (1..).zip(text.lines()).map(read).collect()
}

/// The keeper of the chain at work, beside a server.
pub(crate) struct Keeping {
    finish: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Keeping {
    /// Sets a keeper to work. A chain that was changed is told, and not signed any further: the server still serves, and
    /// every verification says what is wrong.
    pub(crate) async fn begin(
        configuration: &Configuration,
        directory: &DataDirectory,
        founded: &Founded,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<Self>, Box<dyn std::error::Error>> {
        let has_checkpoints = !founded.store.audit_chain().notes().await?.is_empty();
        let file = KeyFile::of(directory.path());
        let key = match file.read()? {
            Some(key) => key,
            None if has_checkpoints => return Err(KeyFileError::Lost(file.path().to_owned()).into()),
            None => file.create(&format!("bastide/{}/audit", founded.installation.tenant_id))?,
        };
        let settings = configuration.audit.clone();
        let keeper = AuditKeeper::open(founded.store.clone(), key, Arc::clone(clock), settings).await;
        let mut keeper = match keeper {
            Ok(keeper) => keeper,
            Err(error @ KeeperError::Broken(_)) => {
                eprintln!("bastide: NOT SIGNED: {error}");
                return Ok(None);
            }
            Err(other) => return Err(other.into()),
        };
        let (finish, finished) = oneshot::channel();
        let task = tokio::spawn(async move {
            tokio::select! {
                () = keeper.run() => {}
                _ = finished => {}
            }
            if let Err(error) = keeper.checkpoint().await {
                tracing::error!(%error, "no last checkpoint was signed");
            }
        });
        Ok(Some(Self { finish, task }))
    }

    /// Ends with a last checkpoint.
    pub(crate) async fn end(self) {
        // A task that is gone already has nothing left to sign.
        let _ = self.finish.send(());
        let _ = self.task.await;
    }
}
