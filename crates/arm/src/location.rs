//! Places: `West US`, `westus` and `WESTUS` are one.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::error::{ArmError, shown};

/// A location in its normal form: lower case, without blanks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location(String);

impl Location {
    /// Reads a location in any case, with or without blanks. Any word will do: which locations a type offers is for the
    /// caller to check.
    ///
    /// # Errors
    /// 400 `InvalidParameter` when nothing is left without the blanks, or something else than ASCII letters, digits,
    /// `-`, `_` and `.` is.
    pub fn parse(text: &str) -> Result<Self, ArmError> {
        let normal: String = text.chars().filter(|c| *c != ' ').map(|c| c.to_ascii_lowercase()).collect();
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if (1..=MAX_LENGTH).contains(&normal.len()) && normal.chars().all(allowed) {
            return Ok(Self(normal));
        }
        let message = format!("'{}' is not a location; give a name such as 'westeurope' or 'local'.", shown(text));
        Err(ArmError::invalid_parameter("location", message))
    }

    /// The normal form, `westus`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name for people, `West US`; of a location outside the table, the normal form.
    pub fn display_name(&self) -> &str {
        KNOWN.iter().find(|(name, _)| *name == self.0).map_or(&self.0, |(_, display)| display)
    }

    /// The locations Bastide lists: its own, then the well-known regions by name. Yields normal and display names.
    pub fn known() -> impl Iterator<Item = (Self, &'static str)> {
        KNOWN.iter().map(|(name, display)| (Self((*name).to_owned()), *display))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Serialize for Location {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Longest location name accepted.
const MAX_LENGTH: usize = 90;

/// `local` is this machine; the others let templates that name a region deploy here too.
const KNOWN: &[(&str, &str)] = &[
    ("local", "Local"),
    ("australiacentral", "Australia Central"),
    ("australiaeast", "Australia East"),
    ("australiasoutheast", "Australia Southeast"),
    ("austriaeast", "Austria East"),
    ("brazilsouth", "Brazil South"),
    ("canadacentral", "Canada Central"),
    ("canadaeast", "Canada East"),
    ("centralindia", "Central India"),
    ("centralus", "Central US"),
    ("eastasia", "East Asia"),
    ("eastus", "East US"),
    ("eastus2", "East US 2"),
    ("francecentral", "France Central"),
    ("germanywestcentral", "Germany West Central"),
    ("global", "Global"),
    ("israelcentral", "Israel Central"),
    ("italynorth", "Italy North"),
    ("japaneast", "Japan East"),
    ("japanwest", "Japan West"),
    ("koreacentral", "Korea Central"),
    ("koreasouth", "Korea South"),
    ("mexicocentral", "Mexico Central"),
    ("newzealandnorth", "New Zealand North"),
    ("northcentralus", "North Central US"),
    ("northeurope", "North Europe"),
    ("norwayeast", "Norway East"),
    ("polandcentral", "Poland Central"),
    ("qatarcentral", "Qatar Central"),
    ("southafricanorth", "South Africa North"),
    ("southcentralus", "South Central US"),
    ("southeastasia", "Southeast Asia"),
    ("southindia", "South India"),
    ("spaincentral", "Spain Central"),
    ("swedencentral", "Sweden Central"),
    ("switzerlandnorth", "Switzerland North"),
    ("uaenorth", "UAE North"),
    ("uksouth", "UK South"),
    ("ukwest", "UK West"),
    ("westcentralus", "West Central US"),
    ("westeurope", "West Europe"),
    ("westindia", "West India"),
    ("westus", "West US"),
    ("westus2", "West US 2"),
    ("westus3", "West US 3"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_blanks_do_not_matter() {
        for text in ["West US", "westus", "WESTUS", " west us "] {
            assert_eq!(Location::parse(text).unwrap().as_str(), "westus");
        }
        assert_eq!(Location::parse("westus").unwrap().display_name(), "West US");
        assert_eq!(Location::parse("my-site.1").unwrap().display_name(), "my-site.1");
    }

    #[test]
    fn what_is_no_word_is_refused() {
        for text in ["", "  ", "west/us", "west\tus", "west\nus", "\u{212A}orea", &"x".repeat(91)] {
            let error = Location::parse(text).expect_err(text);
            assert_eq!((error.status, error.target.as_deref()), (400, Some("location")));
        }
    }

    #[test]
    fn the_table_is_in_normal_form_and_starts_at_home() {
        for (location, display) in Location::known() {
            assert_eq!(Location::parse(display).unwrap(), location);
        }
        assert_eq!(Location::known().next().unwrap().0.as_str(), "local");
    }
}
