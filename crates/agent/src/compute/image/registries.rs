//! Images from registries. A pull leaves the hub's wall on behalf of whoever names the image, so only registries that the
//! administrator admits are asked; and it is done by a process without privilege, that is handed the file it fills.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeReader, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bastide_plan::reference::{Reference, Registry, Version};
use rustix::fs::{Gid, Uid, fchown};
use rustix::io::{FdFlags, fcntl_setfd};

use super::access::AccessFiles;
use super::archive::Archives;
use super::base::is_about_proxies;
use super::cache::{Cache, failed};
use super::child::{Program, run};
use super::{ImageError, Unpacked};
use crate::privilege::become_user;

/// The registries that this node's administrator admits.
#[derive(Debug, Default)]
pub(super) struct Registries {
    pub(super) admitted: Vec<Registry>,
    /// The program that asks one, and its first arguments.
    pub(super) fetcher: Vec<String>,
    /// How they are asked. None: in nobody's name.
    pub(super) access: Option<AccessFiles>,
}

impl Registries {
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
        let access = self.access.as_ref().map(|files| files.access(reference)).transpose()?.unwrap_or_default();
        let access = serde_json::to_vec(&access).map_err(|error| ImageError::Unable(error.to_string()))?;
        let access = filled(&access).map_err(|error| ImageError::Unable(format!("no pipe: {error}")))?;
        let mut command = Command::new(program);
        command.args(arguments).arg(reference.to_string()).current_dir("/").env_clear();
        command.arg("--access").arg(format!("/proc/self/fd/{}", access.as_raw_fd()));
        command.envs(env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_about_proxies)));
        let begin = move || {
            fcntl_setfd(&access, FdFlags::empty())?;
            become_user(USER)
        };
        // SAFETY: between fork and exec it makes system calls and nothing else.
        unsafe { command.pre_exec(begin) };
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

/// A pipe with something in it for who asks registries: no argument, no variable and no file, which others would see.
fn filled(content: &[u8]) -> io::Result<PipeReader> {
    let (reader, mut writer) = io::pipe()?;
    if content.len() > PIPE {
        return Err(io::Error::other("more certificates than anybody needs"));
    }
    writer.write_all(content)?;
    // It opens it by its name, which takes permission.
    fchown(&reader, Some(Uid::from_raw(USER)), Some(Gid::from_raw(USER)))?;
    Ok(reader)
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

/// What a pipe takes before anybody reads (pipe(7)).
const PIPE: usize = 64 << 10;

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

    #[test]
    fn in_whose_name_it_asks_is_read_once_and_seen_by_nobody_else() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        // The arguments of the script: the reference, `--access`, its file, `--resolve`.
        let script = "echo bastide: $(cat $2) $(cat $2) $(tr '\\0' ' ' < /proc/$$/cmdline; env); exit 1";
        let error = pull("registry.example/image:1", script).unwrap_err().to_string();
        let given = r#"{"credentials":"YTpi","authorities":null}"#;
        assert!(error.starts_with(&format!("asking the registry failed: {given} /bin/sh")), "{error}");
        assert_eq!(error.matches("YTpi").count(), 1, "{error}");
    }

    /// With registry.example admitted, which is asked as somebody, and a script in the place of what asks it.
    fn pull(name: &str, script: &str) -> Result<Unpacked, ImageError> {
        let directory = tempfile::tempdir().unwrap();
        let access = directory.path().join("registries");
        fs::create_dir(&access).unwrap();
        let mut config =
            OpenOptions::new().create_new(true).write(true).mode(0o600).open(access.join("config.json")).unwrap();
        config.write_all(br#"{"auths": {"registry.example": {"auth": "YTpi"}}}"#).unwrap();
        let fetcher = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let images = Images::open(directory.path()).unwrap();
        let images = images.with_registries(vec!["registry.example".parse().unwrap()], fetcher).with_access(access);
        images.resolve(&bastide_plan::compute_plan::Image::Reference(name.to_owned()), &|_| {})
    }
}
