//! Whether a plan of instances is one that can be carried out. The server makes no other; this is where that ends being a
//! promise.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use bastide_plan::ComputePlan;
use bastide_plan::compute_plan::{Instance, Script};

/// Says what is wrong.
pub fn check(plan: &ComputePlan) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for instance in &plan.instances {
        instance_is_sound(instance).map_err(|reason| format!("compute '{}': {reason}", instance.name))?;
        if !seen.insert(instance.compute) {
            return Err(format!("compute '{}' is twice in the plan", instance.name));
        }
    }
    Ok(())
}

fn instance_is_sound(instance: &Instance) -> Result<(), String> {
    if !is_label(&instance.name) {
        return Err("its name is not one that a host can have".to_owned());
    }
    if !is_user(&instance.user) {
        return Err(format!("'{}' is not the name of a user", instance.user));
    }
    let size = &instance.size;
    if size.cpu_millis == 0 || size.memory < LEAST_MEMORY || size.processes < LEAST_PROCESSES {
        return Err("its size leaves it nothing to run with".to_owned());
    }
    let paths = instance.files.iter().map(|file| &file.path).chain(instance.shares.iter().map(|share| &share.path));
    if let Some(path) = paths.into_iter().find(|path| !is_absolute(path)) {
        return Err(format!("'{path}' is not an absolute path without detours"));
    }
    if instance.environment.iter().any(|(name, value)| name.is_empty() || name.contains(['=', '\0']) || has_nul(value))
    {
        return Err("its environment has a variable that no process can have".to_owned());
    }
    if instance.keys.iter().any(|key| key.contains(['\n', '\r', '\0'])) {
        return Err("an SSH key is one line".to_owned());
    }
    let scripts = [&instance.creation_script, &instance.startup_script];
    scripts.into_iter().flatten().try_for_each(script_is_sound)
}

fn script_is_sound(script: &Script) -> Result<(), String> {
    if script.seconds == 0 {
        return Err("a script has no time to run in".to_owned());
    }
    if script.arguments.iter().any(|argument| has_nul(argument)) {
        return Err("an argument of a script cannot be passed on".to_owned());
    }
    Ok(())
}

/// A label of a domain name (RFC 1123), in letters of either case.
fn is_label(name: &str) -> bool {
    let is_inner = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'-' || letter == b'_';
    (1..=LONGEST_LABEL).contains(&name.len()) && name.bytes().all(is_inner) && !name.starts_with('-')
}

/// As useradd admits them.
fn is_user(name: &str) -> bool {
    let is_inner = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || b"-_".contains(&letter);
    let begins_well = name.starts_with(|letter: char| letter.is_ascii_lowercase() || letter == '_');
    begins_well && name.len() <= LONGEST_USER && name.bytes().all(is_inner)
}

fn is_absolute(path: &str) -> bool {
    let mut components = Path::new(path).components();
    components.next() == Some(Component::RootDir)
        && path.len() > 1
        && components.all(|component| matches!(component, Component::Normal(_)))
        && !has_nul(path)
}

fn has_nul(text: &str) -> bool {
    text.contains('\0')
}

const LONGEST_LABEL: usize = 63;

const LONGEST_USER: usize = 32;

/// Less does not start a shell.
const LEAST_MEMORY: u64 = 16 << 20;

/// The first process, and one to come in with.
const LEAST_PROCESSES: u32 = 4;
