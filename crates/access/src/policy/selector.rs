//! Selectors: which resources, or which rules of an initiative, a part of an assignment is about.

use serde_json::{Map, Value};

use super::subject::Subject;
use super::{PolicyError, member};

/// `resourceSelectors`: of several, one that fits is enough. None fit every resource.
#[derive(Debug, Clone, Default)]
pub(super) struct ResourceSelectors(Vec<Selectors>);

/// `selectors`: all of them must fit.
#[derive(Debug, Clone, Default)]
pub(super) struct Selectors(Vec<Selector>);

#[derive(Debug, Clone)]
struct Selector {
    kind: Kind,
    /// `in`, not `notIn`.
    is_in: bool,
    /// In lower case; of locations, without blanks.
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Location,
    /// What has no location: the one value is what stands in a subscription and in no group.
    WithoutLocation,
    Type,
    Reference,
}

/// Where selectors are written, which says what errors are called and which kinds make sense.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The code of errors.
    pub(super) code: &'static str,
    /// The path so far.
    pub(super) path: &'a str,
}

impl ResourceSelectors {
    /// Reads `properties.resourceSelectors`.
    pub(super) fn read(properties: &Map<String, Value>, code: &'static str) -> Result<Self, PolicyError> {
        let place = Place { code, path: "properties.resourceSelectors" };
        let items = place.list(member(properties, "resourceSelectors"), MAX_SELECTORS)?;
        let read = |(index, item): (usize, &Value)| {
            let path = format!("{}[{index}]", place.path);
            let at = Place { code, path: &path };
            let selectors = Selectors::read(at.object(item)?, at)?;
            match selectors.0.iter().find(|selector| selector.kind == Kind::Reference) {
                Some(_) => {
                    Err(at.error("policyDefinitionReferenceId selects rules, not resources; use it in overrides."))
                }
                None => Ok(selectors),
            }
        };
        items.iter().enumerate().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a resource is selected.
    pub(super) fn select(&self, subject: &Subject<'_>) -> bool {
        self.0.is_empty() || self.0.iter().any(|selectors| selectors.select(subject))
    }
}

impl Selectors {
    /// Reads the member `selectors` of an object.
    pub(super) fn read(members: &Map<String, Value>, place: Place<'_>) -> Result<Self, PolicyError> {
        let path = format!("{}.selectors", place.path);
        let items = Place { path: &path, ..place }.list(member(members, "selectors"), MAX_SELECTORS)?;
        let mut selectors: Vec<Selector> = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let at = Place { path: &path, ..place };
            let read = Selector::read(at.object(item)?, at)?;
            if selectors.iter().any(|other| other.kind == read.kind) {
                return Err(at.error("There is one selector of a kind; list all its values there."));
            }
            selectors.push(read);
        }
        let has = |kind: Kind| selectors.iter().any(|selector| selector.kind == kind);
        if has(Kind::Location) && has(Kind::WithoutLocation) {
            let message = "Nothing both has a location and has none: use two resource selectors.";
            return Err(Place { path: &path, ..place }.error(message));
        }
        Ok(Self(selectors))
    }

    /// Whether a resource is selected, as far as they are about resources.
    pub(super) fn select(&self, subject: &Subject<'_>) -> bool {
        let text = |name: &str| subject.resource.get(name).and_then(Value::as_str).map(str::to_ascii_lowercase);
        self.0.iter().all(|selector| match selector.kind {
            Kind::Location => selector.fits(text("location").map(|location| location.replace(' ', "")).as_deref()),
            Kind::Type => selector.fits(text("type").as_deref()),
            Kind::WithoutLocation => {
                selector.fits((text("location").is_none() && subject.group.is_none()).then_some(SUBSCRIPTION_LEVEL))
            }
            Kind::Reference => true,
        })
    }

    /// Whether a rule is selected; one that comes without an initiative has no name there.
    pub(super) fn select_rule(&self, reference_id: Option<&str>) -> bool {
        let name = reference_id.map(str::to_ascii_lowercase);
        self.0.iter().filter(|selector| selector.kind == Kind::Reference).all(|selector| selector.fits(name.as_deref()))
    }

    /// The rules they name, in lower case.
    pub(super) fn rules(&self) -> impl Iterator<Item = &str> {
        let about_rules = self.0.iter().filter(|selector| selector.kind == Kind::Reference);
        about_rules.flat_map(|selector| &selector.values).map(String::as_str)
    }
}

impl Selector {
    fn read(members: &Map<String, Value>, place: Place<'_>) -> Result<Self, PolicyError> {
        let known = |kind: &str| KINDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(kind)).map(|(_, kind)| *kind);
        let kind = member(members, "kind").and_then(Value::as_str).and_then(known).ok_or_else(|| {
            let names = KINDS.map(|(name, _)| name).join(", ");
            place.error(format!("A selector has a 'kind', one of: {names}."))
        })?;
        let (is_in, values) = match (member(members, "in"), member(members, "notIn")) {
            (Some(values), None) => (true, values),
            (None, Some(values)) => (false, values),
            _ => return Err(place.error("A selector has 'in' or 'notIn', and not both.")),
        };
        let items = place.list(Some(values), MAX_VALUES)?;
        let texts: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_ascii_lowercase)).collect();
        let mut values = texts.filter(|texts| !texts.is_empty()).ok_or_else(|| place.error(LIST))?;
        if kind == Kind::Location {
            values = values.into_iter().map(|location| location.replace(' ', "")).collect();
        }
        if kind == Kind::WithoutLocation && values != [SUBSCRIPTION_LEVEL] {
            return Err(place.error("The one value of resourceWithoutLocation is 'subscriptionLevelResources'."));
        }
        Ok(Self { kind, is_in, values })
    }

    fn fits(&self, value: Option<&str>) -> bool {
        value.is_some_and(|value| self.values.iter().any(|own| own == value)) == self.is_in
    }
}

impl Place<'_> {
    /// An error at this place.
    pub(super) fn error(self, message: impl Into<String>) -> PolicyError {
        PolicyError::new(self.code, self.path, message)
    }

    /// The object that stands here.
    pub(super) fn object(self, value: &Value) -> Result<&Map<String, Value>, PolicyError> {
        value.as_object().ok_or_else(|| self.error(format!("{} must be an object.", self.path)))
    }

    /// The list that stands here, empty where there is none.
    pub(super) fn list(self, value: Option<&Value>, most: usize) -> Result<&[Value], PolicyError> {
        match value {
            None => Ok(&[]),
            Some(Value::Array(items)) if items.len() <= most => Ok(items),
            Some(_) => Err(self.error(format!("{} must be a list of at most {most}.", self.path))),
        }
    }
}

const KINDS: [(&str, Kind); 4] = [
    ("resourceLocation", Kind::Location),
    ("resourceType", Kind::Type),
    ("resourceWithoutLocation", Kind::WithoutLocation),
    ("policyDefinitionReferenceId", Kind::Reference),
];

const SUBSCRIPTION_LEVEL: &str = "subscriptionlevelresources";

const LIST: &str = "'in' and 'notIn' take a list of at least one text.";

/// Azure's limit, for selectors and for overrides.
pub(super) const MAX_SELECTORS: usize = 10;

/// Azure's limit.
const MAX_VALUES: usize = 50;
