//! Exemptions: where an assignment does not hold, for good or until a day.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::selector::ResourceSelectors;
use super::subject::Subject;
use super::{PolicyError, text, texts};

/// A scope at which an assignment does not hold.
#[derive(Debug, Clone)]
pub struct Exemption {
    /// Its id as stored.
    pub id: String,
    /// The scope in lower case.
    pub scope: String,
    /// The assignment, an id as written.
    pub assignment_id: String,
    /// The rules of the initiative it is for; none is all.
    pub reference_ids: Vec<String>,
    /// Why.
    pub category: Category,
    /// When it ends.
    pub expires_on: Option<Timestamp>,
    selectors: ResourceSelectors,
}

/// Why something is exempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// The risk is accepted.
    Waiver,
    /// The aim is reached in another way.
    Mitigated,
}

impl Exemption {
    /// Reads the `properties` of an exemption at a scope.
    pub fn read(id: &str, scope: &str, properties: &Map<String, Value>) -> Result<Self, PolicyError> {
        let invalid = |place: &str, message: &str| PolicyError::new(INVALID, place, message);
        let place = "properties.policyAssignmentId";
        let assignment_id = text(properties, "policyAssignmentId")?
            .filter(|id| !id.is_empty())
            .ok_or_else(|| invalid(place, "An exemption names an assignment: properties.policyAssignmentId."))?;
        let category = match text(properties, "exemptionCategory")? {
            Some(category) if category.eq_ignore_ascii_case("Waiver") => Category::Waiver,
            Some(category) if category.eq_ignore_ascii_case("Mitigated") => Category::Mitigated,
            _ => return Err(invalid("properties.exemptionCategory", "The category is Waiver or Mitigated.")),
        };
        let expires_on = match text(properties, "expiresOn")? {
            None | Some("") => None,
            Some(written) => Some(written.parse().map_err(|_| {
                invalid("properties.expiresOn", "expiresOn is a date and time such as 2027-01-31T00:00:00Z.")
            })?),
        };
        Ok(Self {
            id: id.to_owned(),
            scope: scope.to_ascii_lowercase(),
            assignment_id: assignment_id.to_owned(),
            reference_ids: texts(properties, "policyDefinitionReferenceIds")?,
            category,
            expires_on,
            selectors: ResourceSelectors::read(properties, INVALID)?,
        })
    }

    /// Whether it is over.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_on.is_some_and(|end| end <= now)
    }

    /// Whether it takes a resource out of one rule.
    pub(super) fn frees(&self, subject: &Subject<'_>, reference_id: Option<&str>) -> bool {
        let is_for_rule = self.reference_ids.is_empty()
            || reference_id.is_some_and(|asked| self.reference_ids.iter().any(|own| own.eq_ignore_ascii_case(asked)));
        is_for_rule
            && !self.has_expired(subject.now)
            && super::covers(&self.scope, subject.key)
            && self.selectors.select(subject)
    }
}

impl Category {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiver => "Waiver",
            Self::Mitigated => "Mitigated",
        }
    }
}

const INVALID: &str = "InvalidPolicyExemption";
