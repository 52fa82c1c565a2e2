//! Images from registries. A pull leaves the hub's wall on behalf of whoever names the image, so only registries that the
//! administrator admits are asked; and it is done by a process without privilege, that is handed the file it fills.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bastide_plan::reference::{Reference, Registry, Version};

use super::archive::Archives;
use super::base::is_about_proxies;
use super::cache::{Cache, failed};
use super::child::{Program, run};
use super::{ImageError, Unpacked};
use crate::privilege::become_user;

/// The registries that this node's administrator admits.
#[derive(Debug)]
pub(super) struct Registries {
    admitted: Vec<Registry>,
    /// The program that asks one, and its first arguments.
    fetcher: Vec<String>,
}

impl Registries {
    pub(super) fn new(admitted: Vec<Registry>, fetcher: Vec<String>) -> Self {
        Self { admitted, fetcher }
    }

    /// The image that a reference means. What a tag means is asked every time; what a digest means never changes.
    pub(super) fn image(
        &self,
        name: &str,
        cache: &Cache,
        archives: &Archives,
        on_progress: &dyn Fn(String),
    ) -> Result<Unpacked, ImageError> {
        let reference = name
            .parse::<Reference>()
            .map_err(|error| ImageError::Unable(format!("the image '{name}' is not fetched: {error}")))?;
        if !self.admitted.contains(&reference.registry) {
            return Err(ImageError::Unable(format!(
                "the image '{name}' is not fetched: {} is not among the registries that images are pulled from. The \
                 administrator of the node adds it to 'image-registries' in bastide.toml (--image-registry), or puts an \
                 archive of the image on the node",
                reference.registry
            )));
        }
        let digest = match &reference.version {
            Version::Digest(digest) => digest.clone(),
            Version::Tag(_) => {
                on_progress(format!("asking {} for the image", reference.registry));
                self.resolve(&reference)?
            }
        };
        let reference = reference.at(digest);
        cache.entry(&key(&reference)?, on_progress, |directory| {
            let archive = self.fetch(&reference, directory, on_progress)?;
            on_progress(format!("unpacking {name}"));
            archives.unpack(&archive, directory)
        })
    }

    fn resolve(&self, reference: &Reference) -> Result<String, ImageError> {
        let mut command = self.command(reference)?;
        command.arg("--resolve").stdin(Stdio::null());
        let mut said = None;
        self.run(ASKING, command, |line| said = line.strip_prefix("resolved ").map(str::to_owned).or(said.take()))?;
        said.ok_or_else(|| ImageError::Unable("what asks registries said nothing".to_owned()))
    }

    /// An archive of the image, in a file that has no name any more: with the last who reads it, it goes.
    fn fetch(&self, reference: &Reference, directory: &Path, on_progress: &dyn Fn(String)) -> Result<File, ImageError> {
        let path = directory.join("image.tar");
        let mut how = OpenOptions::new();
        let file =
            how.read(true).write(true).create_new(true).mode(0o600).open(&path).map_err(failed("make", &path))?;
        fs::remove_file(&path).map_err(failed("remove", &path))?;
        let mut command = self.command(reference)?;
        command.stdin(file.try_clone().map_err(failed("write", &path))?);
        self.run(FETCHING, command, |line| {
            if let Some(percent) = line.strip_prefix("fetched ") {
                on_progress(format!("fetching the image: {percent} %"));
            }
        })?;
        Ok(file)
    }

    fn command(&self, reference: &Reference) -> Result<Command, ImageError> {
        let none = || ImageError::Unable("nothing asks registries".to_owned());
        let (program, arguments) = self.fetcher.split_first().ok_or_else(none)?;
        let mut command = Command::new(program);
        command.args(arguments).arg(reference.to_string()).current_dir("/").env_clear();
        command.envs(env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_about_proxies)));
        // SAFETY: between fork and exec it makes system calls and nothing else.
        unsafe { command.pre_exec(|| become_user(USER)) };
        Ok(command)
    }

    /// What it has to complain of is its own last sentence, and not how far it was.
    fn run(&self, program: Program, command: Command, mut on_line: impl FnMut(&str)) -> Result<(), ImageError> {
        let mut complaint = None;
        let outcome = run(program, command, |line| {
            complaint = line.strip_prefix("bastide: ").map(str::to_owned).or(complaint.take());
            on_line(line);
        });
        outcome.map_err(|error| match (error, complaint) {
            (ImageError::Failed { program, .. }, Some(complaint)) => ImageError::Failed { program, complaint },
            (error, _) => error,
        })
    }
}

/// What an image is called in the cache: what it is.
fn key(reference: &Reference) -> Result<String, ImageError> {
    let version = reference.version.to_string();
    let digits = version.strip_prefix("sha256:").filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let digits = digits.filter(|digits| digits.len() == 64);
    let key = digits.map(|digits| format!("registry-{digits}"));
    key.ok_or_else(|| ImageError::Unable(format!("'{version}' is no digest of an image")))
}

const ASKING: Program = Program { name: "asking the registry", package: "bastide", patience: Duration::from_mins(2) };

/// Together with unpacking not longer than others wait who want the same image.
const FETCHING: Program = Program { name: "fetching the image", package: "bastide", patience: Duration::from_mins(15) };

/// Nobody else: whoever asks registries, beside the server's (1990000) and those of firewalls (from 2000000).
const USER: u32 = 1_990_001;

#[cfg(test)]
mod tests {
    use super::super::Images;
    use super::*;

    #[test]
    fn whoever_asks_has_no_power_and_knows_nothing_of_the_agent() {
        // As root only: nobody else can become somebody else.
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let script =
            "echo bastide: $(id -u) $(id -G) $(grep -h CapEff /proc/self/status) $(env | grep -c CARGO); exit 1";
        let error = pull("registry.example/image:1", script).unwrap_err().to_string();
        assert_eq!(error, format!("asking the registry failed: {USER} {USER} CapEff: 0000000000000000 0"));
    }

    #[test]
    fn only_admitted_registries_are_asked() {
        for name in ["registry.example:5000/image", "registry.example.other.example/image", "other.example/image"] {
            let error = pull(name, "exit 1").unwrap_err().to_string();
            assert!(error.contains("'image-registries' in bastide.toml"), "{name}: {error}");
        }
    }

    #[test]
    fn what_is_said_to_be_an_image_is_a_digest() {
        if rustix::process::geteuid().is_root() {
            let error = pull("registry.example/image:1", "echo resolved ../../etc").unwrap_err().to_string();
            assert_eq!(error, "'../../etc' is no digest of an image");
        }
    }

    /// With registry.example admitted, and a script in the place of what asks it.
    fn pull(name: &str, script: &str) -> Result<Unpacked, ImageError> {
        let directory = tempfile::tempdir().unwrap();
        let fetcher = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let images = Images::open(directory.path()).unwrap();
        let images = images.with_registries(vec!["registry.example".parse().unwrap()], fetcher);
        images.resolve(&bastide_plan::compute_plan::Image::Reference(name.to_owned()), &|_| {})
    }
}
