//! Public keys of SSH, as they stand in `authorized_keys`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bastide_arm::error::ArmError;

use crate::field::refused;

/// The keys in a text, one a line. Options before a key are refused: they would be commands of whoever wrote them.
pub fn keys(text: &str, at: &str) -> Result<Vec<String>, ArmError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys: Vec<String> = lines.map(|line| key(line).map(str::to_owned)).collect::<Option<_>>().ok_or_else(|| {
        let message = "This is not a public key of SSH. Use the content of a file such as id_ed25519.pub: the kind, the \
                       key and a comment on one line.";
        refused(at, message)
    })?;
    if keys.len() > MOST {
        return Err(refused(at, format!("These are {} keys. Use at most {MOST}.", keys.len())));
    }
    Ok(keys)
}

/// A line that is a key: its kind, and data that begin with the same kind (RFC 4253 section 6.6).
fn key(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let (kind, data) = (words.next()?, words.next()?);
    let data = STANDARD.decode(data).ok()?;
    let inner = data.strip_prefix(&u32::try_from(kind.len()).ok()?.to_be_bytes())?;
    let is_whole = inner.len() > kind.len() + MIN_KEY && inner.starts_with(kind.as_bytes());
    let is_plain = line.len() <= LONGEST && !line.chars().any(char::is_control);
    (KINDS.contains(&kind) && is_whole && is_plain).then_some(line)
}

const KINDS: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// No key of any kind is shorter.
const MIN_KEY: usize = 32;

/// Bytes of a line: a key of RSA with 16,384 bits has fewer.
const LONGEST: usize = 8192;

const MOST: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGx7nYlq0hSXhY4T5S9vIu0M1b6nN9Wn3o6b3WZl1wQy mei@bastide";

    #[test]
    fn a_key_is_one_line_and_its_data_say_the_same_kind() {
        assert_eq!(keys(&format!("{KEY}\n\n{KEY}\n"), "at").unwrap(), [KEY, KEY]);
        assert!(keys("", "at").unwrap().is_empty());
        for wrong in [
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            &KEY.replacen("ssh-ed25519", "ssh-rsa", 1),
            &format!("command=\"reboot\" {KEY}"),
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            &format!("{KEY}\u{1b}[2J"),
            &format!("{KEY}{}", "x".repeat(9000)),
        ] {
            let error = keys(wrong, "properties.key").unwrap_err();
            assert_eq!(error.target.as_deref(), Some("properties.key"), "{wrong}");
            assert!(!error.message.contains(wrong), "what was pasted by mistake is not repeated");
        }
    }
}
