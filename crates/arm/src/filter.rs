//! The part of OData's `$filter` that clients of Resource Manager use.
//!
//! ```text
//! or    = and *( "or" and )
//! and   = term *( "and" term )
//! term  = "(" or ")" / property ( "eq" / "ne" ) text / function
//! function = "startswith(" property "," text ")"   also endswith, contains
//!          / "substringof(" text "," property ")"
//! text  = "'" *( character / "''" ) "'"
//! ```

use std::collections::BTreeMap;
use std::fmt;

use crate::error::{ArmError, shown};

/// A property that a list can be filtered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Property {
    /// Name in canonical spelling; clients may write it in any case.
    pub name: &'static str,
    /// Whether letters must agree in case, as in the values of tags.
    pub case_sensitive: bool,
}

/// A filter, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// All of these hold.
    All(Vec<Expr>),
    /// One of these holds.
    Any(Vec<Expr>),
    /// A property is compared with a text.
    Test {
        /// What is compared.
        property: Property,
        /// How.
        test: Test,
        /// With what.
        value: String,
    },
}

/// A comparison of two texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// `property eq 'value'`
    Equal,
    /// `property ne 'value'`
    NotEqual,
    /// `startswith(property, 'value')`
    StartsWith,
    /// `endswith(property, 'value')`
    EndsWith,
    /// `substringof('value', property)` or `contains(property, 'value')`
    Contains,
}

impl Property {
    /// A property whose values differ in case only for the eye: names, types, locations, tag names.
    pub const fn any_case(name: &'static str) -> Self {
        Self { name, case_sensitive: false }
    }

    /// A property whose values are compared letter by letter.
    pub const fn exact(name: &'static str) -> Self {
        Self { name, case_sensitive: true }
    }
}

/// What `GET {subscription}/resources` can be filtered by.
pub const RESOURCE_PROPERTIES: &[Property] = &[
    Property::any_case("name"),
    Property::any_case("resourceType"),
    Property::any_case("resourceGroup"),
    Property::any_case("location"),
    Property::any_case("kind"),
    Property::any_case("tagName"),
    Property::exact("tagValue"),
];

impl Expr {
    /// Reads a (percent-decoded) filter over the given properties.
    ///
    /// # Errors
    /// 400 `InvalidFilterInQueryString` that says at which character, counted from 1, the trouble begins.
    pub fn parse(text: &str, properties: &[Property]) -> Result<Self, ArmError> {
        if text.len() > MAX_BYTES {
            return Err(refuse(format!("The $filter is longer than {MAX_BYTES} bytes.")));
        }
        let mut parser = Parser { text, at: 0, depth: 0, properties };
        let expr = parser.any()?;
        parser.skip_blanks();
        if parser.rest().is_empty() { Ok(expr) } else { Err(parser.expected("'and', 'or' or the end")) }
    }

    /// Whether the filter holds, given the values of properties. A property without a value equals nothing and contains
    /// nothing.
    pub fn matches<'a>(&self, lookup: &impl Fn(&Property) -> Option<&'a str>) -> bool {
        match self {
            Self::All(terms) => terms.iter().all(|term| term.matches(lookup)),
            Self::Any(terms) => terms.iter().any(|term| term.matches(lookup)),
            Self::Test { property, test, value } => match lookup(property) {
                Some(actual) if property.case_sensitive => test.holds(actual, value),
                Some(actual) => test.holds(&actual.to_ascii_lowercase(), &value.to_ascii_lowercase()),
                None => *test == Test::NotEqual,
            },
        }
    }

    /// Whether the filter holds for a resource with tags: `tagName` and `tagValue` speak about one and the same tag, and
    /// it is enough that one tag fits. `lookup` is asked for all other properties.
    pub fn matches_tagged<'a>(
        &self,
        tags: &'a BTreeMap<String, String>,
        lookup: &impl Fn(&Property) -> Option<&'a str>,
    ) -> bool {
        let with_tag = |tag: Option<(&'a str, &'a str)>| {
            self.matches(&|property| match property.name {
                "tagName" => tag.map(|(name, _)| name),
                "tagValue" => tag.map(|(_, value)| value),
                _ => lookup(property),
            })
        };
        tags.iter().any(|(name, value)| with_tag(Some((name, value)))) || (tags.is_empty() && with_tag(None))
    }

    /// The equalities that must hold for the filter to hold, as (canonical name, value): what an index can be asked for
    /// before the rest is evaluated.
    pub fn required_equalities(&self) -> Vec<(&'static str, &str)> {
        match self {
            Self::All(terms) => terms.iter().flat_map(Self::required_equalities).collect(),
            Self::Test { property, test: Test::Equal, value } => vec![(property.name, value)],
            Self::Any(_) | Self::Test { .. } => Vec::new(),
        }
    }
}

impl Test {
    fn holds(self, actual: &str, value: &str) -> bool {
        match self {
            Self::Equal => actual == value,
            Self::NotEqual => actual != value,
            Self::StartsWith => actual.starts_with(value),
            Self::EndsWith => actual.ends_with(value),
            Self::Contains => actual.contains(value),
        }
    }
}

impl fmt::Display for Expr {
    /// Prints text that parses to the same expression.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (terms, joint) = match self {
            Self::All(terms) => (terms, " and "),
            Self::Any(terms) => (terms, " or "),
            Self::Test { property, test, value } => {
                let (name, value) = (property.name, value.replace('\'', "''"));
                return match test {
                    Test::Equal => write!(formatter, "{name} eq '{value}'"),
                    Test::NotEqual => write!(formatter, "{name} ne '{value}'"),
                    Test::StartsWith => write!(formatter, "startswith({name},'{value}')"),
                    Test::EndsWith => write!(formatter, "endswith({name},'{value}')"),
                    Test::Contains => write!(formatter, "substringof('{value}',{name})"),
                };
            }
        };
        for (index, term) in terms.iter().enumerate() {
            if index > 0 {
                formatter.write_str(joint)?;
            }
            match term {
                Self::Test { .. } => write!(formatter, "{term}")?,
                Self::All(_) | Self::Any(_) => write!(formatter, "({term})")?,
            }
        }
        Ok(())
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Offset in bytes, always at a character boundary.
    at: usize,
    depth: usize,
    properties: &'a [Property],
}

impl<'a> Parser<'a> {
    fn any(&mut self) -> Result<Expr, ArmError> {
        let first = self.all()?;
        let mut terms = vec![first];
        while self.take_word("or") {
            terms.push(self.all()?);
        }
        Ok(joined(terms, Expr::Any))
    }

    fn all(&mut self) -> Result<Expr, ArmError> {
        let first = self.term()?;
        let mut terms = vec![first];
        while self.take_word("and") {
            terms.push(self.term()?);
        }
        Ok(joined(terms, Expr::All))
    }

    fn term(&mut self) -> Result<Expr, ArmError> {
        if self.take("(") {
            if self.depth == MAX_DEPTH {
                return Err(refuse(format!("The $filter has more than {MAX_DEPTH} parentheses inside one another.")));
            }
            self.depth += 1;
            let inner = self.any()?;
            self.depth -= 1;
            self.expect(")")?;
            return Ok(inner);
        }
        let start = self.here();
        let word = self.word();
        if self.take("(") {
            return self.function(start, word);
        }
        let property = self.property(start, word)?;
        let test = if self.take_word("eq") {
            Test::Equal
        } else if self.take_word("ne") {
            Test::NotEqual
        } else {
            return Err(self.expected("'eq' or 'ne'"));
        };
        Ok(Expr::Test { property, test, value: self.quoted()? })
    }

    /// After `word(`.
    fn function(&mut self, start: usize, word: &str) -> Result<Expr, ArmError> {
        let (test, value_first) = match word.to_ascii_lowercase().as_str() {
            "startswith" => (Test::StartsWith, false),
            "endswith" => (Test::EndsWith, false),
            "contains" => (Test::Contains, false),
            "substringof" => (Test::Contains, true),
            _ => {
                let known = "startswith, endswith, contains or substringof";
                return Err(self.expected_at(start, known));
            }
        };
        let early = if value_first { Some(self.quoted_comma()?) } else { None };
        let start = self.here();
        let name = self.word();
        let property = self.property(start, name)?;
        let value = if let Some(value) = early {
            value
        } else {
            self.expect(",")?;
            self.quoted()?
        };
        self.expect(")")?;
        Ok(Expr::Test { property, test, value })
    }

    fn property(&self, start: usize, word: &str) -> Result<Property, ArmError> {
        let known = self.properties.iter().find(|property| property.name.eq_ignore_ascii_case(word));
        known.copied().ok_or_else(|| {
            let names: Vec<&str> = self.properties.iter().map(|property| property.name).collect();
            self.expected_at(start, &format!("one of the properties {}", names.join(", ")))
        })
    }

    fn quoted_comma(&mut self) -> Result<String, ArmError> {
        let value = self.quoted()?;
        self.expect(",")?;
        Ok(value)
    }

    fn quoted(&mut self) -> Result<String, ArmError> {
        let start = self.here();
        if !self.take("'") {
            return Err(self.expected_at(start, "a text in single quotes"));
        }
        let mut value = String::new();
        loop {
            let Some((part, _)) = self.rest().split_once('\'') else {
                return Err(self.expected_at(start, "a closing quote for the text that begins here"));
            };
            value.push_str(part);
            self.at += part.len() + 1;
            if !self.rest().starts_with('\'') {
                return Ok(value);
            }
            self.at += 1;
            value.push('\'');
        }
    }

    /// Letters, digits and what else occurs in names; empty when the next character is something else.
    fn word(&mut self) -> &'a str {
        self.skip_blanks();
        let rest = self.rest();
        let end =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/'))).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn take_word(&mut self, word: &str) -> bool {
        let before = self.at;
        let found = self.word().eq_ignore_ascii_case(word);
        if !found {
            self.at = before;
        }
        found
    }

    fn take(&mut self, sign: &str) -> bool {
        self.skip_blanks();
        let found = self.rest().starts_with(sign);
        if found {
            self.at += sign.len();
        }
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), ArmError> {
        if self.take(sign) { Ok(()) } else { Err(self.expected(&format!("'{sign}'"))) }
    }

    fn here(&mut self) -> usize {
        self.skip_blanks();
        self.at
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn expected(&mut self, what: &str) -> ArmError {
        let at = self.here();
        self.expected_at(at, what)
    }

    fn expected_at(&self, at: usize, what: &str) -> ArmError {
        let (before, found) = self.text.split_at_checked(at).unwrap_or((self.text, ""));
        let found = if found.is_empty() { "the end".to_owned() } else { format!("'{}'", shown(found)) };
        refuse(format!(
            "The $filter is not valid at character {}: expected {what}, found {found}.",
            before.chars().count() + 1
        ))
    }
}

/// One term stands for itself.
fn joined(mut terms: Vec<Expr>, join: fn(Vec<Expr>) -> Expr) -> Expr {
    match terms.pop() {
        Some(only) if terms.is_empty() => only,
        Some(last) => {
            terms.push(last);
            join(terms)
        }
        None => join(terms),
    }
}

fn refuse(message: String) -> ArmError {
    ArmError::new(400, "InvalidFilterInQueryString", message).with_target("$filter")
}

/// A URL holds about that much.
const MAX_BYTES: usize = 8192;
const MAX_DEPTH: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Expr {
        Expr::parse(text, RESOURCE_PROPERTIES).unwrap()
    }

    fn refusal(text: &str) -> String {
        let error = Expr::parse(text, RESOURCE_PROPERTIES).expect_err(text);
        assert_eq!((error.status, &*error.code), (400, "InvalidFilterInQueryString"));
        error.message.clone()
    }

    /// Whether the filter holds for a storage account `Logs1` in the group `Lab` with two tags.
    fn holds(text: &str) -> bool {
        let tags = [("env", "Prod"), ("owner", "mei")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        parse(text).matches_tagged(&tags.into(), &|property| match property.name {
            "name" => Some("Logs1"),
            "resourceType" => Some("Microsoft.Storage/storageAccounts"),
            "resourceGroup" => Some("Lab"),
            _ => None,
        })
    }

    #[test]
    fn the_filters_az_sends() {
        assert!(holds("resourceGroup eq 'lab'"));
        assert!(holds("resourceType eq 'microsoft.storage/storageaccounts' and name eq 'logs1'"));
        assert!(holds("tagname eq 'ENV' and tagvalue eq 'Prod'"));
        assert!(!holds("tagname eq 'env' and tagvalue eq 'prod'"), "values of tags are case-sensitive");
        assert!(holds("startswith(tagName,'own')"));
        assert!(holds("substringof('ogs', name)"));
        assert!(!holds("name eq 'logs2'"));
    }

    #[test]
    fn name_and_value_speak_of_the_same_tag() {
        assert!(!holds("tagName eq 'env' and tagValue eq 'mei'"));
        assert!(!parse("tagName eq 'env'").matches_tagged(&BTreeMap::new(), &|_| None));
        let only_env = BTreeMap::from([("env".to_owned(), "dev".to_owned())]);
        assert!(!parse("tagName ne 'env'").matches_tagged(&only_env, &|_| None));
        assert!(parse("name eq 'a'").matches_tagged(&BTreeMap::new(), &|_| Some("a")));
    }

    #[test]
    fn and_binds_tighter_than_or() {
        assert!(holds("name eq 'Logs1' or name eq 'x' and name eq 'y'"));
        assert!(!holds("(name eq 'Logs1' or name eq 'x') and name eq 'y'"));
    }

    #[test]
    fn absent_properties_equal_nothing() {
        assert!(!holds("location eq ''"));
        assert!(holds("location ne 'westus'"));
        assert!(!holds("contains(location,'')"));
    }

    #[test]
    fn quotes_are_doubled() {
        let expr = parse("name eq 'it''s '''");
        assert!(matches!(&expr, Expr::Test { value, .. } if value == "it's '"));
        assert_eq!(expr.to_string(), "name eq 'it''s '''");
    }

    #[test]
    fn a_refusal_names_the_place() {
        assert_eq!(
            refusal("name = 'a'"),
            "The $filter is not valid at character 6: expected 'eq' or 'ne', found '= 'a''."
        );
        assert_eq!(
            refusal("name eq "),
            "The $filter is not valid at character 9: expected a text in single quotes, found the end."
        );
        assert!(refusal("colour eq 'red'").contains("one of the properties name, resourceType"));
        assert!(refusal("name eq 'é' und").contains("at character 13"));
        for text in [
            "",
            " ",
            "name",
            "name eq 5",
            "name eq 'a",
            "(name eq 'a'",
            "name eq 'a')",
            "name eq 'a' and",
            "not name eq 'a'",
            "eval(name,'x')",
            "'a' eq name",
        ] {
            refusal(text);
        }
    }

    #[test]
    fn nesting_and_length_are_bounded() {
        let nested = |depth: usize| format!("{}name eq 'a'{}", "(".repeat(depth), ")".repeat(depth));
        assert_eq!(parse(&nested(32)), parse("name eq 'a'"));
        refusal(&nested(33));
        parse(&vec!["(name eq 'a')"; 100].join(" or "));
        refusal(&format!("name eq '{}'", "x".repeat(9000)));
    }

    #[test]
    fn an_index_is_asked_only_for_what_must_hold() {
        let expr = parse("resourceType eq 't' and (name eq 'a' or name eq 'b') and tagName eq 'k' and location ne 'x'");
        assert_eq!(expr.required_equalities(), [("resourceType", "t"), ("tagName", "k")]);
        assert!(parse("name eq 'a' or name eq 'b'").required_equalities().is_empty());
    }

    fn any_expr() -> impl Strategy<Value = Expr> {
        let test =
            prop::sample::select(vec![Test::Equal, Test::NotEqual, Test::StartsWith, Test::EndsWith, Test::Contains]);
        let leaf = (prop::sample::select(RESOURCE_PROPERTIES), test, "[a-z' é()]{0,8}")
            .prop_map(|(property, test, value)| Expr::Test { property, test, value });
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::All),
                prop::collection::vec(inner, 2..4).prop_map(Expr::Any),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(expr in any_expr()) {
            prop_assert_eq!(parse(&expr.to_string()), expr);
        }

        #[test]
        fn required_equalities_are_required(expr in any_expr(), value in "[a-c]{0,2}") {
            let lookup = |_: &Property| Some(value.as_str());
            if expr.matches(&lookup) {
                for (_, required) in expr.required_equalities() {
                    prop_assert!(required.eq_ignore_ascii_case(&value));
                }
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in "[a-z'() ,éeqnortag]{0,40}|\\PC{0,40}") {
            let _ = Expr::parse(&text, RESOURCE_PROPERTIES);
        }
    }
}
