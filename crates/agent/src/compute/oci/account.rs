//! The user who works in an instance: an entry among its users, a home, and the keys to log in with.

use std::io;
use std::path::Path;

use bastide_plan::compute_plan::Instance;

use super::inside::Inside;

/// The number of the user who works in an instance.
pub(super) const USER: u32 = 1000;

/// Makes sure that the instance's user is there. Runs before anything else does, so nobody interferes.
pub(super) fn ensure(inside: &Inside, instance: &Instance) -> io::Result<()> {
    let user = &instance.user;
    let home = home(user);
    let shell = ["/bin/bash", "/bin/sh"].into_iter().find(|shell| inside.has(shell)).unwrap_or("/bin/sh");
    for (directory, mode) in [("/etc", 0o755), ("/home", 0o755), ("/root", 0o700), ("/tmp", 0o1777)] {
        inside.make_directory(directory, 0, mode)?;
    }
    let (number, named) = (USER.to_string(), format!("{user}:x:{USER}:{USER}::{home}:{shell}"));
    entry(inside, "/etc/passwd", "root:x:0:0:root:/root:/bin/sh", &named, Some(&number), 0o644)?;
    entry(inside, "/etc/group", "root:x:0:", &format!("{user}:x:{USER}:"), Some(&number), 0o644)?;
    // No password will do, but the account is not locked: SSH refuses locked ones.
    entry(inside, "/etc/shadow", "root:*:19000:0:99999:7:::", &format!("{user}:*:19000:0:99999:7:::"), None, 0o640)?;
    if inside.make_directory(&home, USER, 0o750)? {
        for file in [".bashrc", ".bash_logout", ".profile"] {
            if let Some(content) = inside.read(&format!("/etc/skel/{file}"))? {
                inside.write(&format!("{home}/{file}"), &content, USER, 0o644)?;
            }
        }
    }
    keys(inside, instance)?;
    instance.shares.iter().try_for_each(|share| place(inside, &share.path, &home))
}

/// Where a user is at home.
pub(super) fn home(user: &str) -> String {
    format!("/home/{user}")
}

/// Whether a name can be one of a user: it becomes part of paths and of lines with colons.
pub(super) fn is_user_name(name: &str) -> bool {
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    let plain =
        |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || "_-".contains(character);
    begins && name.len() <= LONGEST_NAME && name != "root" && name.chars().all(plain)
}

/// Lets in who may log in, and nobody else.
pub(super) fn keys(inside: &Inside, instance: &Instance) -> io::Result<()> {
    let home = home(&instance.user);
    let path = format!("{home}/.ssh/authorized_keys");
    let keys: String = instance.keys.iter().flat_map(|key| [key.trim(), "\n"]).collect();
    if inside.read(&path)?.unwrap_or_default() == keys {
        return Ok(());
    }
    inside.make_directory(&format!("{home}/.ssh"), USER, 0o700)?;
    inside.write(&path, &keys, USER, 0o600)
}

/// Makes the directories at the end of which a shared folder is seen; the runtime would make them for root alone.
fn place(inside: &Inside, path: &str, home: &str) -> io::Result<()> {
    let ends = path.match_indices('/').map(|(end, _)| end).filter(|end| *end > 0).chain([path.len()]);
    for directory in ends.filter_map(|end| path.get(..end)) {
        let user = if Path::new(directory).starts_with(home) { USER } else { 0 };
        inside.make_directory(directory, user, 0o755)?;
    }
    Ok(())
}

/// Makes sure of a line, and that no other line has its name or its number.
fn entry(inside: &Inside, path: &str, first: &str, line: &str, number: Option<&str>, mode: u32) -> io::Result<()> {
    let before = inside.read(path)?;
    let after = with_line(before.as_deref().unwrap_or(first), line, number);
    if before.as_ref() == Some(&after) { Ok(()) } else { inside.write(path, &after, 0, mode) }
}

fn with_line(text: &str, line: &str, number: Option<&str>) -> String {
    let name = line.split(':').next();
    let others = text.lines().filter(|other| {
        let mut fields = other.split(':');
        fields.next() != name && (number.is_none() || fields.nth(1) != number)
    });
    others.chain([line]).flat_map(|line| [line, "\n"]).collect()
}

const LONGEST_NAME: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_takes_the_place_of_others_with_its_name_or_number() {
        let text = "root:x:0:0:root:/root:/bin/sh\nubuntu:x:1000:1000::/home/ubuntu:/bin/sh\nmei:x:7:7::/:/bin/sh\n";
        let line = "mei:x:1000:1000::/home/mei:/bin/sh";
        let expected = format!("root:x:0:0:root:/root:/bin/sh\n{line}\n");
        assert_eq!(with_line(text, line, Some("1000")), expected);
        assert_eq!(with_line(&expected, line, Some("1000")), expected);
        assert_eq!(with_line("mei:!:1:::\nroot:*:1:::", "mei:*:2:::", None), "root:*:1:::\nmei:*:2:::\n");
    }

    #[test]
    fn a_name_that_would_be_more_than_a_name_is_none() {
        assert!(is_user_name("azureuser"));
        for name in ["", "root", "a:b", "../x", "a/b", "A", "1a", "a b", "a\nb"] {
            assert!(!is_user_name(name), "{name:?}");
        }
    }
}
