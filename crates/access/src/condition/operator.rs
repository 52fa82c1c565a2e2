//! The comparisons of the condition language.

use super::literal::Kind;

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Text {
        test: Test,
        negated: bool,
        ignore_case: bool,
    },
    /// Numbers, moments and times of day, by their order.
    Ordered {
        kind: Kind,
        order: Order,
    },
    /// Between two values, both included.
    InRange(Kind),
    Boolean {
        negated: bool,
    },
    Guid {
        negated: bool,
    },
    /// Inside a network.
    Ip {
        negated: bool,
    },
    /// Whether several values contain one.
    List {
        negated: bool,
    },
}

/// What text is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    Equals,
    StartsWith,
    EndsWith,
    Contains,
    /// A pattern with `*`, `?` and backslash escapes.
    Like,
}

/// How ordered values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Equals,
    NotEquals,
    Less,
    LessEquals,
    Greater,
    GreaterEquals,
}

/// How several values on either side are compared: `For{left}Of{right}Values`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quantifier {
    pub(super) left: Many,
    pub(super) right: Many,
}

/// How many of the values have to satisfy a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Many {
    Any,
    All,
}

impl Operator {
    /// The operator of this name, in any ASCII case.
    pub(super) fn named(name: &str) -> Option<Self> {
        OPERATORS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, operator)| *operator)
    }

    /// The name in its usual spelling.
    pub(super) fn name(self) -> &'static str {
        OPERATORS.iter().find(|(_, operator)| *operator == self).map_or("", |(name, _)| name)
    }

    /// The kind of values on the left; `None` when any will do.
    pub(super) fn left(self) -> Option<Kind> {
        match self {
            Self::Ip { .. } => Some(Kind::Address),
            other => other.right(),
        }
    }

    /// The kind of values on the right; `None` when any will do.
    pub(super) fn right(self) -> Option<Kind> {
        match self {
            Self::Text { .. } => Some(Kind::Text),
            Self::Ordered { kind, .. } | Self::InRange(kind) => Some(kind),
            Self::Boolean { .. } => Some(Kind::Boolean),
            Self::Guid { .. } => Some(Kind::Guid),
            Self::Ip { .. } => Some(Kind::Network),
            Self::List { .. } => None,
        }
    }
}

impl Quantifier {
    pub(super) fn named(name: &str) -> Option<Self> {
        QUANTIFIERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, quantifier)| *quantifier)
    }

    pub(super) fn name(self) -> &'static str {
        QUANTIFIERS.iter().find(|(_, quantifier)| *quantifier == self).map_or("", |(name, _)| name)
    }
}

const QUANTIFIERS: [(&str, Quantifier); 4] = [
    ("ForAnyOfAnyValues", Quantifier { left: Many::Any, right: Many::Any }),
    ("ForAllOfAnyValues", Quantifier { left: Many::All, right: Many::Any }),
    ("ForAnyOfAllValues", Quantifier { left: Many::Any, right: Many::All }),
    ("ForAllOfAllValues", Quantifier { left: Many::All, right: Many::All }),
];

const OPERATORS: [(&str, Operator); 49] = [
    ("StringEquals", text(Test::Equals)),
    ("StringNotEquals", not(text(Test::Equals))),
    ("StringEqualsIgnoreCase", ignoring_case(text(Test::Equals))),
    ("StringNotEqualsIgnoreCase", not(ignoring_case(text(Test::Equals)))),
    ("StringStartsWith", text(Test::StartsWith)),
    ("StringNotStartsWith", not(text(Test::StartsWith))),
    ("StringStartsWithIgnoreCase", ignoring_case(text(Test::StartsWith))),
    ("StringNotStartsWithIgnoreCase", not(ignoring_case(text(Test::StartsWith)))),
    ("StringEndsWith", text(Test::EndsWith)),
    ("StringNotEndsWith", not(text(Test::EndsWith))),
    ("StringEndsWithIgnoreCase", ignoring_case(text(Test::EndsWith))),
    ("StringNotEndsWithIgnoreCase", not(ignoring_case(text(Test::EndsWith)))),
    ("StringContains", text(Test::Contains)),
    ("StringNotContains", not(text(Test::Contains))),
    ("StringContainsIgnoreCase", ignoring_case(text(Test::Contains))),
    ("StringNotContainsIgnoreCase", not(ignoring_case(text(Test::Contains)))),
    ("StringLike", text(Test::Like)),
    ("StringNotLike", not(text(Test::Like))),
    ("StringLikeIgnoreCase", ignoring_case(text(Test::Like))),
    ("StringNotLikeIgnoreCase", not(ignoring_case(text(Test::Like)))),
    ("NumericEquals", ordered(Kind::Integer, Order::Equals)),
    ("NumericNotEquals", ordered(Kind::Integer, Order::NotEquals)),
    ("NumericLessThan", ordered(Kind::Integer, Order::Less)),
    ("NumericLessThanEquals", ordered(Kind::Integer, Order::LessEquals)),
    ("NumericGreaterThan", ordered(Kind::Integer, Order::Greater)),
    ("NumericGreaterThanEquals", ordered(Kind::Integer, Order::GreaterEquals)),
    ("NumericInRange", Operator::InRange(Kind::Integer)),
    ("DateTimeEquals", ordered(Kind::Moment, Order::Equals)),
    ("DateTimeNotEquals", ordered(Kind::Moment, Order::NotEquals)),
    ("DateTimeLessThan", ordered(Kind::Moment, Order::Less)),
    ("DateTimeLessThanEquals", ordered(Kind::Moment, Order::LessEquals)),
    ("DateTimeGreaterThan", ordered(Kind::Moment, Order::Greater)),
    ("DateTimeGreaterThanEquals", ordered(Kind::Moment, Order::GreaterEquals)),
    ("TimeOfDayEquals", ordered(Kind::TimeOfDay, Order::Equals)),
    ("TimeOfDayNotEquals", ordered(Kind::TimeOfDay, Order::NotEquals)),
    ("TimeOfDayLessThan", ordered(Kind::TimeOfDay, Order::Less)),
    ("TimeOfDayLessThanEquals", ordered(Kind::TimeOfDay, Order::LessEquals)),
    ("TimeOfDayGreaterThan", ordered(Kind::TimeOfDay, Order::Greater)),
    ("TimeOfDayGreaterThanEquals", ordered(Kind::TimeOfDay, Order::GreaterEquals)),
    ("TimeOfDayInRange", Operator::InRange(Kind::TimeOfDay)),
    ("BoolEquals", Operator::Boolean { negated: false }),
    ("BoolNotEquals", Operator::Boolean { negated: true }),
    ("GuidEquals", Operator::Guid { negated: false }),
    ("GuidNotEquals", Operator::Guid { negated: true }),
    ("IpMatch", Operator::Ip { negated: false }),
    ("IpNotMatch", Operator::Ip { negated: true }),
    ("IpInRange", Operator::InRange(Kind::Address)),
    ("ListContains", Operator::List { negated: false }),
    ("ListNotContains", Operator::List { negated: true }),
];

const fn text(test: Test) -> Operator {
    Operator::Text { test, negated: false, ignore_case: false }
}

const fn ordered(kind: Kind, order: Order) -> Operator {
    Operator::Ordered { kind, order }
}

const fn not(operator: Operator) -> Operator {
    match operator {
        Operator::Text { test, ignore_case, .. } => Operator::Text { test, negated: true, ignore_case },
        other => other,
    }
}

const fn ignoring_case(operator: Operator) -> Operator {
    match operator {
        Operator::Text { test, negated, .. } => Operator::Text { test, negated, ignore_case: true },
        other => other,
    }
}
