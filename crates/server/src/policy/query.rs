//! The OData options of `queryResults`: `$filter`, `$orderby`, `$select`, `$top`.

use bastide_arm::error::ArmError;
use bastide_arm::filter::{Expr, Property};
use serde_json::{Map, Value};

use crate::request::Request;

/// What a query wants to see.
pub(super) struct Query {
    filter: Option<Expr>,
    order: Vec<(String, bool)>,
    select: Vec<String>,
    pub(super) top: Option<usize>,
    /// Whether to say why.
    pub(super) with_details: bool,
}

impl Query {
    pub(super) fn read(request: &Request<'_>) -> Result<Self, ArmError> {
        let option = |name: &str| request.context.query_value(name).filter(|text| !text.trim().is_empty());
        if option("$apply").is_some() {
            return Err(invalid("$apply", "Aggregate on your side, or ask for summarize."));
        }
        let order = option("$orderby").unwrap_or_default();
        let order = order.split(',').map(str::trim).filter(|term| !term.is_empty()).map(|term| {
            match term.split_whitespace().collect::<Vec<_>>().as_slice() {
                [name] => Ok(((*name).to_owned(), false)),
                [name, way] if way.eq_ignore_ascii_case("asc") => Ok(((*name).to_owned(), false)),
                [name, way] if way.eq_ignore_ascii_case("desc") => Ok(((*name).to_owned(), true)),
                _ => Err(invalid("$orderby", "Write names of fields, each followed by asc or desc.")),
            }
        });
        let top = match option("$top") {
            Some(text) => {
                let number = text.parse().map_err(|_| invalid("$top", "Give a number of states."))?;
                Some(number)
            }
            None => None,
        };
        let filter = option("$filter").map(|text| Expr::parse(&plain(&text), FIELDS)).transpose()?;
        let select = option("$select").unwrap_or_default();
        Ok(Self {
            filter,
            order: order.collect::<Result<_, _>>()?,
            select: select.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect(),
            top,
            with_details: option("$expand").is_some_and(|text| text.eq_ignore_ascii_case("PolicyEvaluationDetails")),
        })
    }

    pub(super) fn admits(&self, state: &Value) -> bool {
        self.filter.as_ref().is_none_or(|filter| {
            filter.matches(&|property| match state.get(property.name) {
                Some(Value::String(text)) => Some(text),
                Some(Value::Bool(true)) => Some("true"),
                Some(Value::Bool(false)) => Some("false"),
                _ => None,
            })
        })
    }

    pub(super) fn sort(&self, states: &mut [Value]) {
        let text = |state: &Value, name: &str| field(state, name).map(Value::to_string).unwrap_or_default();
        states.sort_by(|one, other| {
            let compared = self.order.iter().map(|(name, is_down)| {
                let order = text(one, name).cmp(&text(other, name));
                if *is_down { order.reverse() } else { order }
            });
            compared.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
        });
    }

    pub(super) fn pick(&self, state: Value) -> Value {
        if self.select.is_empty() {
            return state;
        }
        let picked: Map<String, Value> =
            self.select.iter().filter_map(|name| Some((name.clone(), field(&state, name)?.clone()))).collect();
        Value::Object(picked)
    }
}

fn field<'a>(state: &'a Value, name: &str) -> Option<&'a Value> {
    state.as_object()?.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Filters compare with texts here; true and false are written without quotes.
fn plain(filter: &str) -> String {
    [" eq true", " eq false", " ne true", " ne false"].iter().fold(filter.to_owned(), |text, bare| {
        let (operator, value) = bare.rsplit_once(' ').unwrap_or((bare, ""));
        text.replace(bare, &format!("{operator} '{value}'"))
    })
}

fn invalid(option: &str, hint: &str) -> ArmError {
    ArmError::new(400, "InvalidQueryOption", format!("'{option}' cannot be read. {hint}")).with_target(option)
}

const FIELDS: &[Property] = &[
    Property::any_case("complianceState"),
    Property::any_case("isCompliant"),
    Property::any_case("policyAssignmentId"),
    Property::any_case("policyAssignmentName"),
    Property::any_case("policyAssignmentScope"),
    Property::any_case("policyDefinitionAction"),
    Property::any_case("policyDefinitionCategory"),
    Property::any_case("policyDefinitionId"),
    Property::any_case("policyDefinitionName"),
    Property::any_case("policyDefinitionReferenceId"),
    Property::any_case("policySetDefinitionId"),
    Property::any_case("policySetDefinitionName"),
    Property::any_case("resourceGroup"),
    Property::any_case("resourceId"),
    Property::any_case("resourceLocation"),
    Property::any_case("resourceType"),
    Property::any_case("subscriptionId"),
];
