//! What can go wrong with a template, and where.

use std::fmt;

use serde_json::{Value, json};
use thiserror::Error;

use crate::live::Need;

/// A template that cannot be deployed as written: what is wrong, and the place in the document.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct TemplateError {
    /// Which ARM error code this becomes.
    pub code: Code,
    /// A sentence that says what is wrong and, where it helps, what to do.
    pub message: String,
    /// JSON path of the offending value, for instance `$.resources[2].properties.x`.
    pub place: String,
    /// Byte offset inside the expression string at `place`, counted from its opening bracket.
    pub offset: Option<usize>,
}

/// The ARM error codes a template can end in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The document is not even (relaxed) JSON.
    InvalidRequestContent,
    /// The template, its parameters or one of its expressions is wrong.
    InvalidTemplate,
    /// A deployment, a loop or an expression is larger than the limits allow.
    TemplateTooLarge,
}

impl Code {
    /// The code as it goes over the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequestContent => "InvalidRequestContent",
            // The service has no code of its own for limits either.
            Self::InvalidTemplate | Self::TemplateTooLarge => "InvalidTemplate",
        }
    }
}

impl TemplateError {
    pub(crate) fn invalid(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: Code::InvalidTemplate, message: message.into(), place: place.into(), offset: None }
    }

    pub(crate) fn at(place: impl Into<String>, offset: usize, message: impl Into<String>) -> Self {
        Self { code: Code::InvalidTemplate, message: message.into(), place: place.into(), offset: Some(offset) }
    }

    pub(crate) fn too_large(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: Code::TemplateTooLarge, message: message.into(), place: place.into(), offset: None }
    }

    /// The `info` object of an ARM `additionalInfo` entry of type `TemplateViolation`.
    pub fn violation(&self) -> Value {
        json!({ "path": self.place.strip_prefix("$.").unwrap_or(&self.place), "linePosition": self.offset })
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at {}", self.message, self.place)?;
        if let Some(offset) = self.offset {
            write!(f, ", offset {offset} of the expression")?;
        }
        f.write_str(")")
    }
}

/// Why an evaluation did not end in a value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Stop {
    /// The template is wrong; asking again does not help.
    #[error(transparent)]
    Invalid(Box<TemplateError>),
    /// Live state is wanted first: look these up and evaluate again.
    #[error("live state of other resources is needed first")]
    Missing(Box<Needs>),
}

/// The live state an evaluation asked for and did not have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// What the value cannot be computed without.
    pub certain: Vec<Need>,
    /// What it may turn out to want, for instance inside an `if` whose condition itself waits for live state.
    pub possible: Vec<Need>,
}

impl Needs {
    pub(crate) fn one(need: Need) -> Stop {
        Stop::Missing(Box::new(Self { certain: vec![need], possible: Vec::new() }))
    }

    /// Nothing is known and nothing can be asked for: the value hangs on a lambda variable without a value.
    pub(crate) fn unknown() -> Stop {
        Stop::Missing(Box::default())
    }

    /// Adds what another evaluation needs, each need once.
    pub(crate) fn absorb(&mut self, other: Self) {
        for need in other.certain {
            if !self.certain.contains(&need) {
                self.certain.push(need);
            }
        }
        self.absorb_possible(other.possible);
    }

    pub(crate) fn absorb_possible(&mut self, needs: Vec<Need>) {
        for need in needs {
            if !self.possible.contains(&need) {
                self.possible.push(need);
            }
        }
    }

    /// All needs, certain ones first.
    pub fn all(&self) -> impl Iterator<Item = &Need> {
        self.certain.iter().chain(&self.possible)
    }
}

impl From<TemplateError> for Stop {
    fn from(error: TemplateError) -> Self {
        Self::Invalid(Box::new(error))
    }
}

/// What a function found wrong with its arguments; the evaluator adds the function and the place.
#[derive(Debug)]
pub(crate) struct Trouble(pub(crate) String);

impl<T: Into<String>> From<T> for Trouble {
    fn from(message: T) -> Self {
        Self(message.into())
    }
}
