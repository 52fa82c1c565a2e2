//! Service tags: names for addresses that somebody else publishes. Bastide has none of its own; packs of them are imported,
//! as published each week or from a file of one's own (mission.md G6, (c) 12).

mod known;
mod pack;

use std::collections::HashMap;

use ipnet::Ipv4Net;

pub use known::{doubt, is_tag};
pub use pack::{Difference, Tag, TagChange, TagPack};

/// What the tags of a subscription mean, from all of its packs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagBook {
    /// By lower-case name.
    tags: HashMap<String, Tag>,
    /// The packs, for sentences people read: `azure (change 345)`.
    packs: Vec<String>,
}

impl TagBook {
    /// A book of packs, each with its name. No two packs have a tag in common: that is refused when they are imported.
    pub fn new(packs: impl IntoIterator<Item = (String, TagPack)>) -> Self {
        let mut book = Self::default();
        for (name, pack) in packs {
            book.packs.push(format!("'{name}' (change {})", pack.change_number));
            book.tags.extend(pack.tags);
        }
        book
    }

    /// The addresses of a tag, or a sentence that says what is missing.
    pub fn prefixes(&self, tag: &str) -> Result<&[Ipv4Net], String> {
        let import =
            "import one that has it (bastide network service-tags import FILE), or give the rule addressPrefixes";
        match self.tags.get(&tag.to_ascii_lowercase()) {
            Some(found) if !found.prefixes.is_empty() => Ok(&found.prefixes),
            Some(found) => Err(format!(
                "Service tag '{}' has {} IPv6 prefixes and no other; hubs have no IPv6, so it stands for nothing.",
                found.name, found.ipv6
            )),
            None if self.packs.is_empty() => Err(format!(
                "The addresses of service tag '{tag}' are not known here: there is no pack of service tags. To have it in \
                 effect, {import}.{}",
                doubt(tag).map(|doubt| format!(" {doubt}")).unwrap_or_default()
            )),
            None => Err(format!(
                "Service tag '{tag}' is in none of the packs {}: {import}.{}",
                self.packs.join(", "),
                doubt(tag).map(|doubt| format!(" {doubt}")).unwrap_or_default()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn book() -> TagBook {
        let pack = json!({"changeNumber": 345, "values": [
            {"name": "Storage.WestEurope", "properties": {"addressPrefixes": ["192.0.2.0/25", "192.0.2.128/25"]}},
            {"name": "AzureAttestation", "properties": {"addressPrefixes": ["2001:db8::/32"]}},
        ]});
        TagBook::new([("azure".to_owned(), TagPack::read(&pack).unwrap())])
    }

    #[test]
    fn tags_are_found_in_any_case() {
        assert_eq!(book().prefixes("storage.westeurope").unwrap(), ["192.0.2.0/24".parse().unwrap()]);
    }

    #[test]
    fn what_stands_for_nothing_says_why() {
        let why = |book: &TagBook, tag: &str| book.prefixes(tag).unwrap_err();
        assert!(why(&TagBook::default(), "AzureMonitor").contains("no pack of service tags"));
        assert!(why(&book(), "AzureMonitor").contains("'azure' (change 345)"));
        assert!(why(&book(), "AzureMonitr").contains("AzureMonitor"), "a slip is told from a gap");
        assert!(why(&book(), "AzureAttestation").contains("no IPv6"));
    }
}
