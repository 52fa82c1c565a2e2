//! The names under which expressions and `dependsOn` mean the resources of a template.

use std::collections::HashMap;
use std::sync::Arc;

use crate::id;

/// One resource of a plan, as others may refer to it.
#[derive(Debug)]
pub(crate) struct Symbol {
    pub(crate) id: String,
    pub(crate) type_name: String,
    pub(crate) name: String,
    pub(crate) api_version: Option<String>,
    /// Its symbolic name.
    pub(crate) alias: Option<String>,
    /// The name of its loop and which iteration it is.
    pub(crate) iteration: Option<(String, usize)>,
}

/// All resources of a template that is being planned.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    entries: Vec<Symbol>,
    by_key: HashMap<String, Vec<usize>>,
    by_symbol: HashMap<String, Vec<usize>>,
    by_loop: HashMap<String, Vec<usize>>,
    by_name: HashMap<String, Vec<usize>>,
    /// By the last segment of the name.
    by_last: HashMap<String, Vec<usize>>,
    by_type_and_name: HashMap<String, Vec<usize>>,
    /// The template whose expressions these are, when a nested one borrows its parent's scope.
    above: Option<Arc<Symbols>>,
}

impl Symbols {
    pub(crate) fn new(entries: Vec<Symbol>, above: Option<Arc<Symbols>>) -> Self {
        let mut symbols = Self { above, ..Self::default() };
        for (position, entry) in entries.iter().enumerate() {
            let mut file = |map: fn(&mut Self) -> &mut HashMap<String, Vec<usize>>, name: String| {
                map(&mut symbols).entry(name).or_default().push(position);
            };
            file(|all| &mut all.by_key, id::key(&entry.id));
            if let Some(symbol) = &entry.alias {
                file(|all| &mut all.by_symbol, symbol.to_ascii_lowercase());
            }
            if let Some((name, _)) = &entry.iteration {
                file(|all| &mut all.by_loop, name.to_ascii_lowercase());
            }
            let name = entry.name.to_ascii_lowercase();
            if let Some((_, last)) = name.rsplit_once('/') {
                file(|all| &mut all.by_last, last.to_owned());
            }
            file(|all| &mut all.by_type_and_name, typed(&entry.type_name, &name));
            file(|all| &mut all.by_name, name);
        }
        symbols.entries = entries;
        symbols
    }

    pub(crate) fn by_id(&self, id: &str) -> &[usize] {
        listed(&self.by_key, &id::key(id))
    }

    /// What a `dependsOn` entry means: all positions it names; none when it names nothing of this template.
    pub(crate) fn dependencies(&self, text: &str) -> Vec<usize> {
        if text.starts_with('/') {
            let exact = self.by_id(text);
            if !exact.is_empty() {
                return exact.to_vec();
            }
            // The same type and name in another group: written without the group of a nested deployment.
            return match (id::type_of(text), names_of(text)) {
                (Some(type_name), Some(name)) => listed(&self.by_type_and_name, &typed(&type_name, &name)).to_vec(),
                _ => Vec::new(),
            };
        }
        let (base, index) = split_index(text);
        let lower = base.to_ascii_lowercase();
        for map in [&self.by_symbol, &self.by_loop] {
            let found = listed(map, &lower);
            if !found.is_empty() {
                return self.only_iteration(found, index);
            }
        }
        let whole = text.to_ascii_lowercase();
        for map in [&self.by_name, &self.by_last] {
            let found = listed(map, &whole);
            if !found.is_empty() {
                return found.to_vec();
            }
        }
        // `Microsoft.Storage/storageAccounts/name`, without what stands before it.
        match whole.split_once('/') {
            Some((namespace, rest)) if namespace.contains('.') => {
                let mut segments = rest.split('/');
                let (mut kinds, mut names) = (vec![namespace], Vec::new());
                while let (Some(kind), Some(name)) = (segments.next(), segments.next()) {
                    kinds.push(kind);
                    names.push(name);
                }
                listed(&self.by_type_and_name, &typed(&kinds.join("/"), &names.join("/"))).to_vec()
            }
            _ => Vec::new(),
        }
    }

    /// What `reference(text)` means: a symbolic name, an iteration of one, or a name that only one resource has.
    pub(crate) fn refer(&self, text: &str) -> Option<&Symbol> {
        let (base, index) = split_index(text);
        let found = self.only_iteration(listed(&self.by_symbol, &base.to_ascii_lowercase()), index);
        let found = found.first().copied().or_else(|| {
            let lower = text.to_ascii_lowercase();
            let candidates = [&self.by_name, &self.by_last].map(|map| listed(map, &lower));
            match candidates.into_iter().find(|found| !found.is_empty()) {
                Some([only]) => Some(*only),
                _ => None,
            }
        });
        match found {
            Some(position) => self.entries.get(position),
            None => self.above.as_ref().and_then(|above| above.refer(text)),
        }
    }

    /// Every iteration of a symbolic name, in order.
    pub(crate) fn all(&self, symbol: &str) -> Vec<&Symbol> {
        let found = listed(&self.by_symbol, &symbol.to_ascii_lowercase());
        match (found.is_empty(), &self.above) {
            (true, Some(above)) => above.all(symbol),
            _ => found.iter().filter_map(|position| self.entries.get(*position)).collect(),
        }
    }

    /// The version a resource is declared with.
    pub(crate) fn api_version(&self, id: &str) -> Option<String> {
        match self.by_id(id).first().and_then(|position| self.entries.get(*position)) {
            Some(symbol) => symbol.api_version.clone(),
            None => self.above.as_ref().and_then(|above| above.api_version(id)),
        }
    }

    fn only_iteration(&self, positions: &[usize], index: Option<usize>) -> Vec<usize> {
        let wanted = |position: &&usize| match (index, self.entries.get(**position)) {
            (None, _) => true,
            (Some(index), Some(symbol)) => symbol.iteration.as_ref().is_some_and(|(_, own)| *own == index),
            (Some(_), None) => false,
        };
        positions.iter().filter(wanted).copied().collect()
    }
}

fn listed<'a>(map: &'a HashMap<String, Vec<usize>>, name: &str) -> &'a [usize] {
    map.get(name).map_or(&[], Vec::as_slice)
}

/// `name[3]` is iteration 3 of `name`.
fn split_index(text: &str) -> (&str, Option<usize>) {
    match text.strip_suffix(']').and_then(|text| text.split_once('[')) {
        Some((base, index)) if index.parse::<usize>().is_ok() => (base, index.parse().ok()),
        _ => (text, None),
    }
}

fn typed(type_name: &str, name: &str) -> String {
    format!("{type_name}|{name}").to_ascii_lowercase()
}

/// The names of an id, after its last `/providers/`.
fn names_of(id: &str) -> Option<String> {
    let at = id.to_ascii_lowercase().rfind("/providers/")?;
    let segments: Vec<&str> = id.get(at + "/providers/".len()..)?.split('/').skip(2).step_by(2).collect();
    Some(segments.join("/"))
}
