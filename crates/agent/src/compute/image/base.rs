//! The image that Bastide makes itself, of the distribution's packages and Jupyter from the package index.

use std::env;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use aws_lc_rs::digest;

use super::ImageError;
use super::cache::{ROOT, Record, failed};
use super::child::{Program, run};
use super::identity::Identity;
use super::sources::Sources;

/// All that decides what the image is like.
#[derive(Debug)]
pub(super) struct Recipe {
    sources: Sources,
    /// The certificates of authorities that this node trusts.
    trusted: Vec<u8>,
}

impl Recipe {
    pub(super) fn of_this_node() -> Result<Self, ImageError> {
        let path = Path::new(TRUSTED);
        let trusted = fs::read(path).map_err(failed("read", path))?;
        Ok(Self { sources: Sources::of_this_node()?, trusted })
    }

    /// What such images are called in the cache: another recipe makes others.
    pub(super) fn key(&self) -> String {
        let Sources { suite, architecture, .. } = &self.sources;
        let settings = [OPTIONS.join("\n"), OWN_FILES.join("\n")].join("\n");
        let names = [suite.as_bytes(), architecture.as_bytes()];
        let made_by = [RECIPE, PACKAGES.as_bytes(), REQUIREMENTS, settings.as_bytes(), &self.trusted];
        let parts: Vec<_> = names.into_iter().chain(made_by).collect();
        let digest = sha256(&parts);
        format!("base-{}", digest.get(..KEY_DIGITS).unwrap_or(&digest))
    }

    /// Makes it in an empty directory.
    pub(super) fn make(&self, directory: &Path, on_progress: &dyn Fn(String)) -> Result<Record, ImageError> {
        tracing::info!(suite = self.sources.suite, "making the base image");
        let given = self.give(directory)?;
        let identity = Identity::make().map_err(|error| {
            ImageError::Unable(format!("the base image is made in a user namespace, which this node refuses: {error}"))
        })?;
        let command = self.command(directory, &given, &identity)?;
        let tell = |(percent, what): (u8, &str)| on_progress(format!("making the base image, {percent} % ({what})"));
        let mut told = (0, "");
        tell((1, "looking for packages"));
        run(MMDEBSTRAP, command, |line| {
            if let Some((percent, what)) = progress(line)
                && percent > told.0
            {
                told.0 = percent;
                tell((percent, what));
            }
        })?;
        tell((97, "writing it to the disk"));
        for file in OWN_FILES {
            let path = directory.join(ROOT).join(file);
            fs::write(&path, "").map_err(failed("write", &path))?;
        }
        let manifest = given.join("manifest.txt");
        let packages = fs::read(&manifest).map_err(failed("read", &manifest))?;
        for used in [given, directory.join(SCRATCH)] {
            fs::remove_dir_all(&used).map_err(failed("remove", &used))?;
        }
        let digest = format!("sha256:{}", sha256(&[self.key().as_bytes(), &packages]));
        Ok(Record { digest, environment: environment() })
    }

    /// What the recipe reads.
    fn give(&self, directory: &Path) -> Result<PathBuf, ImageError> {
        let given = directory.join("given");
        for path in [&given, &directory.join(SCRATCH)] {
            fs::create_dir(path).map_err(failed("make", path))?;
        }
        let sources = self.sources.lines.join("\n") + "\n";
        let mut files = vec![
            ("recipe.sh", RECIPE.to_vec()),
            ("requirements.txt", REQUIREMENTS.to_vec()),
            ("sources.list", sources.into_bytes()),
            ("trusted.crt", self.trusted.clone()),
        ];
        let settings = pip_settings();
        let named = settings.as_deref().and_then(pip_certificates);
        let certificates = env::var_os("PIP_CERT").map(PathBuf::from).or(named);
        files.extend(certificates.and_then(|path| Some(("pip.crt", fs::read(path).ok()?))));
        files.extend(settings.map(|text| ("pip.conf", text.into_bytes())));
        for (name, content) in files {
            let path = given.join(name);
            fs::write(&path, content).map_err(failed("write", &path))?;
            let mode = if name == "recipe.sh" { 0o700 } else { 0o644 };
            fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(failed("write", &path))?;
        }
        Ok(given)
    }

    fn command(&self, directory: &Path, given: &Path, identity: &Identity) -> Result<Command, ImageError> {
        let mut command = Command::new("/usr/bin/unshare");
        command.stdin(Stdio::null());
        // Namespaces of its own: with the first process of them goes all that it has started and mounted.
        command.args(["--fork", "--kill-child", "--mount", "--pid", "--mount-proc", "--ipc", "--uts", "--"]);
        command.arg("/usr/bin/mmdebstrap").args(OPTIONS);
        command.arg(format!("--include={}", PACKAGES.lines().collect::<Vec<_>>().join(",")));
        command.args(self.sources.options.iter().map(|option| format!("--aptopt={option}")));
        command.arg("--customize-hook=exec \"$BASTIDE_GIVEN/recipe.sh\" \"$1\" \"$BASTIDE_GIVEN\"");
        command.arg(&self.sources.suite).arg(directory.join(ROOT)).arg(given.join("sources.list"));
        command.env_clear().envs(env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_about_the_way)));
        command.env("BASTIDE_GIVEN", given).env("TMPDIR", directory.join(SCRATCH)).envs([
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("HOME", "/nonexistent"),
            ("LC_ALL", "C.UTF-8"),
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            // One time for all files: the same packages make the same image.
            ("SOURCE_DATE_EPOCH", "1700000000"),
        ]);
        identity.enclose(&mut command).map_err(|error| ImageError::Unable(error.to_string()))?;
        Ok(command)
    }
}

/// How far it is by what a line says, in percent.
fn progress(line: &str) -> Option<(u8, &str)> {
    if let Some(said) = line.strip_prefix("progress ") {
        let (percent, what) = said.split_once(' ')?;
        return Some((percent.parse().ok()?, what));
    }
    let steps = [
        ("I: running apt-get update", 4, "reading the package lists"),
        ("I: downloading packages", 12, "downloading packages"),
        ("I: extracting archives", 22, "unpacking"),
        ("I: installing essential packages", 30, "the essential packages"),
        ("I: installing remaining packages", 40, "the other packages"),
    ];
    steps.into_iter().find(|(start, ..)| line.starts_with(start)).map(|(_, percent, what)| (percent, what))
}

fn environment() -> Vec<(String, String)> {
    let variables =
        [("PATH", "/opt/python/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"), ("LANG", "C.UTF-8")];
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

/// Whether a variable says how to reach the package index or an archive.
fn is_about_the_way(variable: &str) -> bool {
    variable.starts_with("PIP_") || is_about_proxies(variable)
}

/// Whether a variable says which proxy leads out of this node.
pub(super) fn is_about_proxies(variable: &str) -> bool {
    let lower = variable.to_ascii_lowercase();
    ["http_proxy", "https_proxy", "no_proxy", "all_proxy"].contains(&lower.as_str())
}

/// The settings of this node's pip: the file that is named, the user's, or everybody's.
fn pip_settings() -> Option<String> {
    let named = env::var_os("PIP_CONFIG_FILE").map(PathBuf::from);
    let users = env::var_os("HOME").map(|home| Path::new(&home).join(".config/pip/pip.conf"));
    let files = named.into_iter().chain(users).chain([PathBuf::from("/etc/pip.conf")]);
    files.into_iter().find_map(|path| fs::read_to_string(path).ok())
}

/// Whom pip is to trust, by its settings.
fn pip_certificates(settings: &str) -> Option<PathBuf> {
    let value = |line: &str| Some(line.trim().strip_prefix("cert")?.trim_start().strip_prefix('=')?.trim().to_owned());
    settings.lines().find_map(value).map(PathBuf::from)
}

fn sha256(parts: &[&[u8]]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        // With its length, so that nothing can move from one part into the next.
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    hexadecimal(context.finish().as_ref())
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

const RECIPE: &[u8] = include_bytes!("base/recipe.sh");
const REQUIREMENTS: &[u8] = include_bytes!("base/requirements.txt");
const PACKAGES: &str = include_str!("base/packages.txt");

const OPTIONS: [&str; 10] = [
    "--mode=root",
    "--variant=apt",
    "--format=directory",
    "--skip=check/empty,chroot/mount/sys",
    "--aptopt=Acquire::Retries \"3\"",
    // All of it is written to the disk once, at the end.
    "--dpkgopt=force-unsafe-io",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
];

/// What each instance has its own of: a place to put it.
const OWN_FILES: [&str; 3] = ["etc/hostname", "etc/hosts", "etc/resolv.conf"];

/// Where mmdebstrap puts what it forgets again.
const SCRATCH: &str = "scratch";

/// What Debian and Ubuntu trust, and what administrators have added to it.
const TRUSTED: &str = "/etc/ssl/certs/ca-certificates.crt";

/// It takes half a minute, and ten times that on a slow line.
const MMDEBSTRAP: Program = Program { name: "mmdebstrap", package: "mmdebstrap", patience: Duration::from_mins(15) };

const KEY_DIGITS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_recipe_is_another_image() {
        let sources = |suite: &str| Sources {
            suite: suite.to_owned(),
            architecture: "amd64".to_owned(),
            lines: Vec::new(),
            options: Vec::new(),
        };
        let recipe = |suite, trusted: &[u8]| Recipe { sources: sources(suite), trusted: trusted.to_vec() }.key();
        assert_eq!(recipe("bookworm", b"a"), recipe("bookworm", b"a"));
        assert_ne!(recipe("bookworm", b"a"), recipe("trixie", b"a"));
        assert_ne!(recipe("bookworm", b"a"), recipe("bookworm", b"b"));
    }

    #[test]
    fn it_is_told_how_far_it_is() {
        assert_eq!(progress("I: extracting archives..."), Some((22, "unpacking")));
        assert_eq!(progress("progress 72 JupyterLab"), Some((72, "JupyterLab")));
        assert_eq!(progress("Get:1 something"), None);
    }

    #[test]
    fn whom_pip_trusts_is_read_from_its_settings() {
        assert_eq!(pip_certificates("[global]\nindex-url = x\ncert = /a/b.pem\n"), Some(PathBuf::from("/a/b.pem")));
        assert_eq!(pip_certificates("[global]\n"), None);
    }

    /// Takes the distribution's packages and the package index, like the real thing; a minute when it is not cached.
    #[test]
    #[ignore = "downloads a hundred megabytes"]
    fn the_base_image_has_what_people_work_with_and_no_keys() {
        let directory = tempfile::tempdir().unwrap();
        let images = super::super::Images::open(directory.path()).unwrap();
        let said = std::cell::RefCell::new(Vec::new());
        let image =
            images.resolve(&bastide_plan::compute_plan::Image::Base, &|what| said.borrow_mut().push(what)).unwrap();
        assert_eq!(said.borrow().last().unwrap(), "making the base image, 97 % (writing it to the disk)");
        for program in ["/opt/jupyter/bin/jupyter-lab", "/opt/python/bin/pip", "/usr/sbin/sshd", "/usr/bin/git"] {
            assert!(image.root.join(&program[1..]).exists(), "{program}");
        }
        assert!(!image.root.join("etc/ssh/ssh_host_ed25519_key").exists());
        assert_eq!(fs::read_dir(directory.path().join("making")).unwrap().count(), 0);
    }
}
