//! A pack of service tags, in the shape of the file that is published each week: `values[]` with a `name` and
//! `properties.addressPrefixes`.

use std::collections::{BTreeMap, BTreeSet};

use bastide_arm::error::ArmError;
use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::known::is_tag;
use crate::field::refused;

/// A pack as kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TagPack {
    /// The publisher's number of the file; grows from week to week.
    pub change_number: u64,
    /// Of which cloud, `Public`, if it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<String>,
    /// By lower-case name.
    pub tags: BTreeMap<String, Tag>,
}

/// One tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tag {
    /// As published, `Storage.WestEurope`.
    pub name: String,
    /// Merged and sorted.
    pub prefixes: Vec<Ipv4Net>,
    /// IPv6 prefixes, which are not kept: hubs have no IPv6.
    pub ipv6: usize,
}

/// What a pack changes of the one before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Tags that are new.
    pub added: Vec<String>,
    /// Tags that have gone.
    pub removed: Vec<String>,
    /// Tags that mean other addresses.
    pub changed: Vec<TagChange>,
}

/// What becomes of one tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TagChange {
    /// The tag.
    pub name: String,
    /// Prefixes it has and did not have.
    pub added: Vec<Ipv4Net>,
    /// Prefixes it had and has no more.
    pub removed: Vec<Ipv4Net>,
}

impl TagPack {
    /// Reads a published file. One prefix that is none refuses all of it: a pack is taken whole or not at all.
    pub fn read(file: &Value) -> Result<Self, ArmError> {
        let change_number = file.get("changeNumber").and_then(Value::as_u64).unwrap_or_default();
        let cloud = file.get("cloud").and_then(Value::as_str).map(str::to_owned);
        let values = file.get("values").and_then(Value::as_array).filter(|values| !values.is_empty());
        let values = values.ok_or_else(|| {
            let message =
                "A pack of service tags needs values, a list of objects with name and properties.addressPrefixes.";
            refused("values", message)
        })?;
        let mut tags = BTreeMap::new();
        for (index, value) in values.iter().enumerate() {
            let at = format!("values[{index}]");
            let tag = Tag::read(value.as_object(), &at)?;
            let name = tag.name.clone();
            if tags.insert(name.to_ascii_lowercase(), tag).is_some() {
                return Err(refused(&at, format!("Tag '{name}' is there twice; names of tags have no case.")));
            }
        }
        Ok(Self { change_number, cloud, tags })
    }

    /// What this pack changes of an older one.
    pub fn since(&self, older: Option<&Self>) -> Difference {
        let nothing = BTreeMap::new();
        let before = older.map_or(&nothing, |older| &older.tags);
        let missing = |from: &BTreeMap<String, Tag>, of: &BTreeMap<String, Tag>| {
            of.iter().filter(|(key, _)| !from.contains_key(*key)).map(|(_, tag)| tag.name.clone()).collect()
        };
        let changed = self.tags.iter().filter_map(|(key, tag)| tag.since(before.get(key)?));
        Difference {
            added: missing(before, &self.tags),
            removed: missing(&self.tags, before),
            changed: changed.collect(),
        }
    }

    /// IPv4 prefixes of all tags.
    pub fn prefix_count(&self) -> usize {
        self.tags.values().map(|tag| tag.prefixes.len()).sum()
    }

    /// IPv6 prefixes that were passed over.
    pub fn ipv6_count(&self) -> usize {
        self.tags.values().map(|tag| tag.ipv6).sum()
    }
}

impl Tag {
    fn read(value: Option<&Map<String, Value>>, at: &str) -> Result<Self, ArmError> {
        let value = value.ok_or_else(|| refused(at, "A tag is an object with name and properties.addressPrefixes."))?;
        let name = value.get("name").and_then(Value::as_str).unwrap_or_default().trim();
        if !is_tag(name) {
            let message =
                format!("'{name}' cannot name a service tag. Use letters and digits, with dots between words.");
            return Err(refused(&format!("{at}.name"), message));
        }
        let place = format!("{at}.properties.addressPrefixes");
        let listed = value.get("properties").and_then(|properties| properties.get("addressPrefixes")?.as_array());
        let listed =
            listed.ok_or_else(|| refused(&place, format!("Tag '{name}' needs a list of address prefixes.")))?;
        let (mut prefixes, mut ipv6) = (Vec::new(), 0);
        for text in listed {
            let text = text.as_str().unwrap_or_default();
            match (text.parse::<Ipv4Net>(), text.parse::<Ipv6Net>()) {
                (Ok(prefix), _) => prefixes.push(prefix.trunc()),
                (_, Ok(_)) => ipv6 += 1,
                _ => {
                    let message =
                        format!("'{text}' of tag '{name}' is not a prefix. Use CIDR form, such as 192.0.2.0/24.");
                    return Err(refused(&place, message));
                }
            }
        }
        let mut prefixes = Ipv4Net::aggregate(&prefixes);
        prefixes.sort();
        Ok(Self { name: name.to_owned(), prefixes, ipv6 })
    }

    fn since(&self, older: &Self) -> Option<TagChange> {
        let (now, before): (BTreeSet<_>, BTreeSet<_>) =
            (self.prefixes.iter().copied().collect(), older.prefixes.iter().copied().collect());
        (now != before).then(|| TagChange {
            name: self.name.clone(),
            added: now.difference(&before).copied().collect(),
            removed: before.difference(&now).copied().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pack(tags: &[(&str, &[&str])]) -> TagPack {
        let values: Vec<Value> = tags
            .iter()
            .map(|(name, prefixes)| {
                let properties = json!({
                    "changeNumber": 7, "region": "", "regionId": 0, "platform": "Azure", "systemService": name,
                    "addressPrefixes": prefixes, "networkFeatures": ["API", "NSG"],
                });
                json!({"name": name, "id": name, "properties": properties})
            })
            .collect();
        TagPack::read(&json!({"changeNumber": 345, "cloud": "Public", "values": values})).unwrap()
    }

    #[test]
    fn a_published_file_is_read() {
        let pack = pack(&[("Storage.WestEurope", &["192.0.2.128/25", "192.0.2.0/25", "2001:db8::/32"])]);
        assert_eq!((pack.change_number, pack.cloud.as_deref()), (345, Some("Public")));
        let tag = &pack.tags["storage.westeurope"];
        assert_eq!((tag.prefixes.as_slice(), tag.ipv6), (["192.0.2.0/24".parse().unwrap()].as_slice(), 1));
        let kept: TagPack = serde_json::from_value(serde_json::to_value(&pack).unwrap()).unwrap();
        assert_eq!(kept, pack, "what is kept reads back as itself");
    }

    #[test]
    fn a_file_is_taken_whole_or_not_at_all() {
        let tag = |name: &str, prefixes: Value| json!({"name": name, "properties": {"addressPrefixes": prefixes}});
        let cases = [
            (json!({}), "values"),
            (json!({"values": []}), "values"),
            (json!({"values": ["x"]}), "values[0]"),
            (json!({"values": [tag("", json!([]))]}), "values[0].name"),
            (json!({"values": [{"name": "A", "properties": {}}]}), "values[0].properties.addressPrefixes"),
            (
                json!({"values": [tag("A", json!(["192.0.2.0/24"])), tag("B", json!(["192.0.2.0/33"]))]}),
                "values[1].properties.addressPrefixes",
            ),
            (json!({"values": [tag("A", json!([])), tag("a", json!([]))]}), "values[1]"),
        ];
        for (file, target) in cases {
            assert_eq!(TagPack::read(&file).unwrap_err().target.as_deref(), Some(target), "{file}");
        }
    }

    #[test]
    fn what_changes_is_told_tag_by_tag() {
        let older = pack(&[("Gone", &["192.0.2.0/24"]), ("Kept", &["192.0.2.0/24"]), ("Moved", &["198.51.100.0/24"])]);
        let newer = pack(&[
            ("New", &["192.0.2.0/24"]),
            ("Kept", &["192.0.2.0/25", "192.0.2.128/25"]),
            ("Moved", &["203.0.113.0/24"]),
        ]);
        let moved = TagChange {
            name: "Moved".to_owned(),
            added: vec!["203.0.113.0/24".parse().unwrap()],
            removed: vec!["198.51.100.0/24".parse().unwrap()],
        };
        let expected = Difference { added: vec!["New".into()], removed: vec!["Gone".into()], changed: vec![moved] };
        assert_eq!(newer.since(Some(&older)), expected);
        assert_eq!(newer.since(Some(&newer)), Difference::default());
        assert_eq!(newer.since(None).added.len(), 3);
    }
}
