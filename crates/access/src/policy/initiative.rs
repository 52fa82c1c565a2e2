//! Initiatives (policy set definitions): several rules under one name.

use std::collections::BTreeMap;

use bastide_template::Formula;
use serde_json::{Map, Value};

use super::condition::Reader;
use super::definition::{constant, last};
use super::parameter::{Bound, Parameters};
use super::{PolicyError, member, text, texts};

/// Several definitions that are assigned as one.
#[derive(Debug, Clone)]
pub struct Initiative {
    /// Its id as stored.
    pub id: String,
    /// The last segment of the id.
    pub name: String,
    /// Its name for people.
    pub display_name: Option<String>,
    /// Its version.
    pub version: String,
    /// What assignments give values for.
    pub parameters: Parameters,
    /// The definitions.
    pub members: Vec<Member>,
}

/// One definition of an initiative.
#[derive(Debug, Clone)]
pub struct Member {
    /// The definition's id as written.
    pub definition_id: String,
    /// Its name inside the initiative.
    pub reference_id: String,
    /// The groups it is counted to.
    pub groups: Vec<String>,
    parameters: BTreeMap<String, Formula>,
}

impl Initiative {
    /// Reads the `properties` of an initiative.
    pub fn read(id: &str, properties: &Map<String, Value>) -> Result<Self, PolicyError> {
        let parameters = Parameters::read(member(properties, "parameters"))?;
        let invalid = |place: &str, message: &str| PolicyError::new("InvalidPolicySetDefinition", place, message);
        let items = member(properties, "policyDefinitions").and_then(Value::as_array);
        let items = items.filter(|items| (1..=MAX_MEMBERS).contains(&items.len())).ok_or_else(|| {
            let message = format!("An initiative lists 1 to {MAX_MEMBERS} definitions in 'policyDefinitions'.");
            invalid("properties.policyDefinitions", &message)
        })?;
        let mut members: Vec<Member> = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let place = format!("properties.policyDefinitions[{index}]");
            let fields = item
                .as_object()
                .ok_or_else(|| invalid(&place, "An entry names a definition: {\"policyDefinitionId\": ...}."))?;
            let read = Member::read(fields, &place, index, &parameters)?;
            if members.iter().any(|other| other.reference_id.eq_ignore_ascii_case(&read.reference_id)) {
                let message = "Two entries have one policyDefinitionReferenceId; each needs its own.";
                return Err(invalid(&format!("{place}.policyDefinitionReferenceId"), message));
            }
            members.push(read);
        }
        Ok(Self {
            id: id.to_owned(),
            name: last(id),
            display_name: text(properties, "displayName")?.map(str::to_owned),
            version: text(properties, "version")?.unwrap_or("1.0.0").to_owned(),
            parameters,
            members,
        })
    }
}

impl Member {
    fn read(
        fields: &Map<String, Value>,
        place: &str,
        index: usize,
        declared: &Parameters,
    ) -> Result<Self, PolicyError> {
        let definition_id = member(fields, "policyDefinitionId").and_then(Value::as_str).ok_or_else(|| {
            let message = "An entry names a definition: {\"policyDefinitionId\": ...}.";
            PolicyError::new("InvalidPolicySetDefinition", place, message)
        })?;
        let reader = Reader::new(declared);
        let mut parameters = BTreeMap::new();
        for (name, value) in super::parameter::values(member(fields, "parameters"), &format!("{place}.parameters"))? {
            let formula = reader.formula(&value, &format!("{place}.parameters.{name}"))?;
            parameters.insert(name, formula);
        }
        let reference_id = member(fields, "policyDefinitionReferenceId").and_then(Value::as_str);
        Ok(Self {
            definition_id: definition_id.to_owned(),
            reference_id: reference_id.map_or_else(|| format!("{}_{index}", last(definition_id)), str::to_owned),
            groups: texts(fields, "groupNames")?,
            parameters,
        })
    }

    /// What the definition is given when the initiative is given these values.
    pub(super) fn given(&self, bound: &Bound) -> Result<Bound, PolicyError> {
        let evaluate = |(name, formula): (&String, &Formula)| {
            let value = constant(formula, bound).map_err(|message| {
                PolicyError::new("InvalidPolicyParameters", format!("{}.{name}", self.reference_id), message)
            })?;
            Ok((name.clone(), value))
        };
        self.parameters.iter().map(evaluate).collect()
    }
}

/// Definitions in one initiative (Azure's limit).
const MAX_MEMBERS: usize = 1000;
