//! Policy definitions: one rule.

use bastide_template::{Formula, Host};
use serde_json::{Map, Value};

use super::condition::{Condition, Reader};
use super::effect::{Details, Effect};
use super::parameter::{Bound, Parameters};
use super::{PolicyError, member, text};

/// A rule: a condition, an effect, and parameters for both.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Its id as stored.
    pub id: String,
    /// The last segment of the id.
    pub name: String,
    /// Its name for people.
    pub display_name: Option<String>,
    /// Which resources it looks at.
    pub mode: Mode,
    /// Its version, `1.0.0`.
    pub version: String,
    /// What assignments give values for.
    pub parameters: Parameters,
    pub(super) condition: Condition,
    pub(super) effect: Formula,
    pub(super) details: Details,
}

/// Which resources a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Resource groups, subscriptions and resources of every type.
    All,
    /// Resources of types with tags and a location.
    Indexed,
}

impl Definition {
    /// Reads the `properties` of a definition.
    pub fn read(id: &str, properties: &Map<String, Value>) -> Result<Self, PolicyError> {
        let mode = Mode::read(text(properties, "mode")?)?;
        let parameters = Parameters::read(member(properties, "parameters"))?;
        let place = "properties.policyRule";
        let rule = member(properties, "policyRule").and_then(Value::as_object).ok_or_else(|| {
            PolicyError::rule(place, "A policy has a rule: {\"if\": a condition, \"then\": {\"effect\": ...}}.")
        })?;
        let mut reader = Reader::new(&parameters);
        let condition = member(rule, "if").ok_or_else(|| PolicyError::rule(place, "The rule has no 'if'."))?;
        let condition = reader.condition(condition, &format!("{place}.if"))?;
        let then = member(rule, "then").and_then(Value::as_object);
        let then = then.ok_or_else(|| PolicyError::rule(place, "The rule has no 'then'."))?;
        let at = format!("{place}.then.effect");
        let effect = member(then, "effect").ok_or_else(|| PolicyError::rule(&*at, "The rule has no effect."))?;
        let effect = reader.formula(effect, &at)?;
        // The effect before its details: those of an effect that does not exist here need not be understood.
        check_effect(&effect, &parameters, &|_| true)?;
        let details = Details::read(member(then, "details"), &mut reader)?;
        check_effect(&effect, &parameters, &|effect| effect.accepts(&details))?;
        Ok(Self {
            id: id.to_owned(),
            name: last(id),
            display_name: text(properties, "displayName")?.map(str::to_owned),
            mode,
            version: text(properties, "version")?.unwrap_or("1.0.0").to_owned(),
            parameters,
            condition,
            effect,
            details,
        })
    }

    /// The values of its parameters and the effect they give.
    pub(super) fn bind(&self, given: &Bound, place: &str) -> Result<(Bound, Effect), PolicyError> {
        let bound = self.parameters.bind(given, place)?;
        let unsupported = |message: String| PolicyError::new("UnsupportedPolicyEffect", place, message);
        let effect = constant(&self.effect, &bound).map_err(unsupported)?;
        let effect = effect.as_str().ok_or_else(|| unsupported("The effect of a rule is a text.".to_owned()))?;
        let effect = Effect::read(effect).map_err(unsupported)?;
        if !effect.accepts(&self.details) {
            return Err(unsupported(misfit(effect)));
        }
        Ok((bound, effect))
    }

    /// Why an assignment cannot give it this effect instead of its own, if so.
    pub(super) fn check_override(&self, effect: Effect) -> Result<(), String> {
        if !effect.accepts(&self.details) {
            return Err(misfit(effect));
        }
        // Where the effect is a parameter, its values are those the author thought of.
        let declared = self.effect.parameters();
        let mut declared = declared.iter().filter_map(|name| self.parameters.find(name));
        declared.try_for_each(|parameter| parameter.check(&effect.name().into()))
    }
}

impl Mode {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "All",
            Self::Indexed => "Indexed",
        }
    }

    fn read(text: Option<&str>) -> Result<Self, PolicyError> {
        match text {
            // As the cloud has it for definitions that were written before there were modes.
            None => Ok(Self::Indexed),
            Some(text) if text.eq_ignore_ascii_case("All") => Ok(Self::All),
            Some(text) if text.eq_ignore_ascii_case("Indexed") => Ok(Self::Indexed),
            Some(text) => {
                let message = format!(
                    "The mode '{text}' is not one Bastide has: a policy here looks at resources, not into what they \
                     hold. Use All or Indexed."
                );
                Err(PolicyError::new("InvalidPolicyDefinition", "properties.mode", message))
            }
        }
    }
}

/// The effect must be one that can come out: written out, or among the values its parameter may have.
fn check_effect(effect: &Formula, parameters: &Parameters, fits: &dyn Fn(Effect) -> bool) -> Result<(), PolicyError> {
    let possible: Vec<Value> = match effect.literal() {
        Some(literal) => vec![literal],
        None => {
            let named = effect.parameters();
            let declared = named.iter().filter_map(|name| parameters.find(name));
            declared.flat_map(|parameter| parameter.possible().into_iter().cloned()).collect()
        }
    };
    let mut refusal = None;
    for value in &possible {
        match Effect::read(value.as_str().unwrap_or_default()) {
            Ok(Effect::Disabled) if possible.len() > 1 => {}
            Ok(effect) if fits(effect) => return Ok(()),
            Ok(effect) => refusal = Some(misfit(effect)),
            Err(message) => refusal = refusal.or(Some(message)),
        }
    }
    match refusal {
        Some(message) => Err(PolicyError::new("UnsupportedPolicyEffect", "properties.policyRule.then.effect", message)),
        None => Ok(()),
    }
}

fn misfit(effect: Effect) -> String {
    let needs = match effect {
        Effect::Modify => "'operations'",
        Effect::Append => "a list of fields and values",
        _ => "an existenceCondition on the resource itself",
    };
    format!("The effect '{}' needs {needs} in its details.", effect.name())
}

/// The value of a formula that may read parameters and nothing else.
pub(super) fn constant(formula: &Formula, parameters: &Bound) -> Result<Value, String> {
    struct ParametersOnly<'a>(&'a Bound);
    impl Host for ParametersOnly<'_> {
        fn call(&self, function: &str, arguments: &[Value]) -> Result<Value, String> {
            match (function, arguments) {
                ("parameters", [Value::String(name)]) => {
                    let found = self.0.get(&name.to_ascii_lowercase()).cloned();
                    found.ok_or_else(|| format!("there is no parameter '{name}'."))
                }
                _ => Err("only parameters can be used here.".to_owned()),
            }
        }
    }
    formula.evaluate(&ParametersOnly(parameters)).map_err(|error| error.message)
}

/// The last segment of an id.
pub(super) fn last(id: &str) -> String {
    id.rsplit('/').next().unwrap_or_default().to_owned()
}
