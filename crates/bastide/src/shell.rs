//! Text that a POSIX shell reads back as it was.

use std::fmt::Write as _;

/// Quotes a word so that a shell takes every character of it literally.
pub(crate) fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// `export` lines for the variables, in order.
pub(crate) fn exports(variables: &[(&str, &str)]) -> String {
    let mut lines = String::new();
    for (name, value) in variables {
        let _ = writeln!(lines, "export {name}={}", quote(value));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        for word in ["plain", "it's", "a b\n$HOME `id` \"x\" \\ ; #", "", "'", "''"] {
            let output = Command::new("sh").args(["-c", &format!("printf %s {}", quote(word))]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }
}
