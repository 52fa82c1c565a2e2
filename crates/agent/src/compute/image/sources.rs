//! Where this node gets its distribution's packages from, read from the node's own apt.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::ImageError;
use super::child::{Program, run};

/// The distribution of a node, and where its packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sources {
    /// Name of the release, as in its archive.
    pub(super) suite: String,
    /// The architecture of packages.
    pub(super) architecture: String,
    /// Lines of a `sources.list`.
    pub(super) lines: Vec<String>,
    /// How apt is to get there: proxies and the like, lines of an `apt.conf`.
    pub(super) options: Vec<String>,
}

impl Sources {
    pub(super) fn of_this_node() -> Result<Self, ImageError> {
        let codename = codename(&std::fs::read_to_string("/etc/os-release").unwrap_or_default());
        let mut targets = Vec::new();
        let arguments = ["indextargets", "--no-release-info", "--format", FORMAT, "Created-By: Packages"];
        apt("apt-get", &arguments, |line| targets.push(line.to_owned()))?;
        let mut options = Vec::new();
        apt("apt-config", &["dump"], |line| options.extend(is_about_the_way(line).then(|| line.to_owned())))?;
        let found = Self::parse(&targets, codename.as_deref());
        let (suite, architecture, lines) = found.ok_or_else(|| ImageError::Unable(NOT_FOUND.to_owned()))?;
        Ok(Self { suite, architecture, lines, options })
    }

    /// Of what apt says it gets, the part that is the release itself: its packages, updates and security fixes, of the
    /// distribution's own components.
    fn parse(targets: &[String], codename: Option<&str>) -> Option<(String, String, Vec<String>)> {
        let mut of_release = None;
        let mut lines = Vec::new();
        for target in targets {
            let mut words = target.strip_prefix("target ").unwrap_or_default().split(' ');
            let (Some(uri), Some(suite), Some(component), Some(architecture)) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                continue;
            };
            let name = base_suite(suite);
            let is_release = codename == Some(name) || ALIASES.contains(&name);
            if !is_release || !COMPONENTS.contains(&component) || architecture == "all" {
                continue;
            }
            if name == suite {
                of_release.get_or_insert_with(|| (suite.to_owned(), architecture.to_owned()));
            }
            let line = format!("deb {uri} {suite} {component}");
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        let (suite, architecture) = of_release?;
        Some((suite, architecture, lines))
    }
}

fn codename(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(value.trim_matches('"').to_owned())
}

/// `bookworm` of `bookworm-security`, `bookworm-updates` and `bookworm/updates`; not of `bookworm-backports`.
fn base_suite(suite: &str) -> &str {
    ["-security", "-updates", "/updates"].iter().find_map(|end| suite.strip_suffix(end)).unwrap_or(suite)
}

/// Whether a line of apt's configuration is about how to reach an archive.
fn is_about_the_way(line: &str) -> bool {
    ["Acquire::http::", "Acquire::https::"].iter().any(|key| line.starts_with(key))
}

fn apt(name: &'static str, arguments: &[&str], on_line: impl FnMut(&str)) -> Result<(), ImageError> {
    let mut command = Command::new(name);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .env_clear()
        .envs([("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LC_ALL", "C")]);
    run(Program { name, package: "apt", patience: Duration::from_secs(20) }, command, on_line)
}

const FORMAT: &str = "target $(REPO_URI) $(RELEASE) $(COMPONENT) $(ARCHITECTURE)";

/// What a release is called beside its code name.
const ALIASES: [&str; 5] = ["stable", "oldstable", "testing", "unstable", "sid"];

/// The components that hold what the base image is made of: Debian's, and both of Ubuntu.
const COMPONENTS: [&str; 2] = ["main", "universe"];

const NOT_FOUND: &str = "the base image is made of the distribution's packages, and apt on this node has no source for \
    them. Look at /etc/apt/sources.list and /etc/apt/sources.list.d";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_its_updates_and_its_fixes_are_taken() {
        let targets = [
            "target http://deb.test/debian/ bookworm main amd64",
            "target http://deb.test/debian/ bookworm main all",
            "target http://deb.test/debian/ bookworm non-free amd64",
            "target http://deb.test/debian/ bookworm-updates main amd64",
            "target http://deb.test/debian/ bookworm-backports main amd64",
            "target http://deb.test/security/ bookworm-security main amd64",
            "target http://other.test/ bookworm stable amd64",
            "target http://other.test/ nodistro main amd64",
            "W: something else that apt says",
        ];
        let (suite, architecture, lines) = Sources::parse(&targets.map(str::to_owned), Some("bookworm")).unwrap();
        assert_eq!((suite.as_str(), architecture.as_str()), ("bookworm", "amd64"));
        let wanted = [
            "deb http://deb.test/debian/ bookworm main",
            "deb http://deb.test/debian/ bookworm-updates main",
            "deb http://deb.test/security/ bookworm-security main",
        ];
        assert_eq!(lines, wanted);
    }

    #[test]
    fn a_node_that_follows_an_alias_has_sources_too() {
        let targets = ["target http://deb.test/debian/ stable main arm64".to_owned()];
        assert_eq!(Sources::parse(&targets, Some("trixie")).unwrap().0, "stable");
        assert_eq!(Sources::parse(&[], Some("trixie")), None);
    }

    #[test]
    fn the_code_name_is_read() {
        assert_eq!(codename("ID=debian\nVERSION_CODENAME=\"noble\"\n").unwrap(), "noble");
    }
}
