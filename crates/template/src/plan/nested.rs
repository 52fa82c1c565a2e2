//! Nested deployments: from their node to a plan of their own.

use std::sync::Arc;

use super::bind::{self, Given};
use super::build::Builder;
use super::{Node, Plan};
use crate::context::{Deployment, Mode};
use crate::data::Data;
use crate::declaration::{Nested, NestedTemplate};
use crate::error::{Needs, Stop, TemplateError};
use crate::evaluator::Evaluator;
use crate::frame::Frame;
use crate::limits::Budget;
use crate::live::{Live, Need};
use crate::parameter::Bound;
use crate::template::{Source, Template};
use crate::tree::{Key, Tree};

/// What becomes of a parameter whose value waits for live state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// It stays open, so that what does not hang on it can be planned.
    MayStay,
    /// It is wanted now: this is what will be deployed.
    IsWanted,
}

pub(super) fn expand(
    node: &Node,
    nested: &Nested,
    waiting: Waiting,
    live: &dyn Live,
    budget: &mut Budget,
    total: &mut usize,
) -> Result<Plan, Stop> {
    let (template, uri) = template(node, nested, live, budget)?;
    let mode = mode(node, nested, live, budget)?;
    let location = match node.body.member("location") {
        Some(location) => node.evaluator(live, budget).value(&location)?.as_text().map(str::to_owned),
        None => None,
    };
    let deployment = Deployment { name: node.name.clone(), location, mode, template_uri: uri };
    let context = node.frame.context.nested(&node.target(), deployment);
    // A template that is computed or linked is a value to its parent: what stands in it is its own.
    let own = nested.inner || !matches!(nested.template, NestedTemplate::Inline(_));
    let (frame, above) = if own {
        let given = parameters(node, nested, waiting, live, budget)?;
        let bound = bind::bind(&template, given, budget)?;
        (Arc::new(Frame::new(template.clone(), context.clone(), bound, node.frame.limits)), None)
    } else {
        // The parent's words mean the parent's things, also what its own loops count.
        (node.frame.clone(), Some((node.symbols.clone(), node.loops.clone())))
    };
    Builder { template, frame, context: Arc::new(context), above, live, budget, total }.build()
}

fn template(
    node: &Node,
    nested: &Nested,
    live: &dyn Live,
    budget: &mut Budget,
) -> Result<(Arc<Template>, Option<String>), Stop> {
    let limits = node.frame.limits;
    let place = format!("{}.template", nested.place);
    let too_large = |trouble: crate::error::Trouble| TemplateError::too_large(&*place, trouble.0);
    match &nested.template {
        NestedTemplate::Inline(template) => Ok((template.clone(), None)),
        NestedTemplate::Computed(tree) => {
            let computed = node.evaluator(live, budget).value(tree)?;
            // Reading takes a multiple of the text.
            budget.bytes(computed.weight().saturating_mul(8)).map_err(too_large)?;
            budget.steps(computed.weight() / 8).map_err(too_large)?;
            let source = Source::of(computed.to_value());
            Ok((Template::from_source(source, &place, nested.nesting, &limits)?, None))
        }
        NestedTemplate::Link(link) => {
            let mut evaluator = node.evaluator(live, budget);
            let link = evaluator.value(link)?;
            let base = node.frame.context.deployment.template_uri.as_deref();
            let uri = address(&link, base, &nested.place)?;
            let document = evaluator.look_up(&Need::Document { uri: uri.clone() }, 0)?;
            let source = Source::of(document.to_value());
            Ok((Template::from_source(source, &place, nested.nesting, &limits)?, Some(uri)))
        }
    }
}

/// The address of a `templateLink` or `parametersLink`: its `uri`, or its `relativePath` beside the template it is in.
fn address(link: &Data, base: Option<&str>, place: &str) -> Result<String, Stop> {
    let text = |name: &str| link.member(name).and_then(Data::as_text);
    let invalid = |message: &str| Err(TemplateError::invalid(format!("{place}.templateLink"), message).into());
    match (text("uri"), text("relativePath"), base) {
        (Some(uri), _, _) => Ok(uri.to_owned()),
        (None, Some(path), Some(base)) => Ok(format!("{}{path}", base.rfind('/').map_or(base, |at| &base[..=at]))),
        (None, Some(_), None) => invalid("A 'relativePath' needs a template that was itself linked by 'uri'."),
        (None, None, _) => invalid("Only links by 'uri' or 'relativePath' are supported, not template specs."),
    }
}

fn mode(node: &Node, nested: &Nested, live: &dyn Live, budget: &mut Budget) -> Result<Mode, Stop> {
    let Some(tree) = &nested.mode else {
        return Ok(Mode::Incremental);
    };
    let value = node.evaluator(live, budget).value(tree)?;
    value.as_text().and_then(Mode::parse).ok_or_else(|| {
        let message = "The mode of a deployment is 'Incremental' or 'Complete'.";
        TemplateError::invalid(format!("{}.mode", nested.place), message).into()
    })
}

/// The parameters handed down. All that they want of live state is asked for at once.
fn parameters(
    node: &Node,
    nested: &Nested,
    waiting: Waiting,
    live: &dyn Live,
    budget: &mut Budget,
) -> Result<Vec<Given>, Stop> {
    let place = format!("{}.parameters", nested.place);
    let mut evaluator = node.evaluator(live, budget);
    if let Some(link) = &nested.parameters_link {
        let link = evaluator.value(link)?;
        let uri = address(&link, node.frame.context.deployment.template_uri.as_deref(), &nested.place)?;
        let file = evaluator.look_up(&Need::Document { uri }, 0)?;
        let parameters = file.member("parameters").unwrap_or(&file).to_value();
        return bind::given(&parameters, &place);
    }
    let entries = match &nested.parameters {
        None => return Ok(Vec::new()),
        Some(Tree::Object(entries)) => entries.clone(),
        Some(other) => match evaluator.value(other)? {
            Data::Null => return Ok(Vec::new()),
            Data::Object(object) => {
                let literal =
                    |(name, value): &(Arc<str>, Data)| (Key::Plain(name.clone()), Tree::Literal(value.clone()));
                object.entries.iter().map(literal).collect()
            }
            _ => return Err(TemplateError::invalid(place, "'parameters' must be an object.").into()),
        },
    };
    let whole_secret = evaluator.secret;
    let mut wanted = Needs::default();
    let mut given = Vec::with_capacity(entries.len());
    for (key, tree) in &entries {
        let name = match key {
            Key::Plain(name) => name.clone(),
            Key::Expression(expression) => match evaluator.expression(expression)? {
                Data::Text(name) => name,
                _ => return Err(TemplateError::invalid(place, "The name of a parameter must be a string.").into()),
            },
        };
        let mut below = place.clone();
        crate::tree::push_member(&mut below, &name);
        evaluator.secret = whole_secret;
        let value = parameter(&mut evaluator, tree, &below)?;
        if let (Bound::Waiting(needs), Waiting::IsWanted) = (&value, waiting) {
            wanted.absorb(needs.clone());
        }
        given.push(Given { name: name.to_string(), place: below, value });
    }
    if wanted == Needs::default() { Ok(given) } else { Err(Stop::Missing(Box::new(wanted))) }
}

fn parameter(evaluator: &mut Evaluator<'_>, tree: &Tree, place: &str) -> Result<Bound, Stop> {
    let computed = match (tree.member("value"), tree.member("reference")) {
        (Some(value), _) => evaluator.value(&value),
        (None, Some(reference)) => {
            let reference = evaluator.value(&reference)?;
            return bind::vault(&reference, place);
        }
        // `"name": "[createObject('value', ...)]"`.
        (None, None) => match evaluator.value(tree) {
            Ok(data) => match (data.member("value"), data.member("reference")) {
                (Some(value), _) => Ok(value.clone()),
                (None, Some(reference)) => return bind::vault(reference, place),
                (None, None) => {
                    let message = "A parameter needs an object with a 'value' or a 'reference'.";
                    Err(TemplateError::invalid(place, message).into())
                }
            },
            stop => stop,
        },
    };
    match computed {
        Ok(data) => Ok(Bound::Value { data, secret: evaluator.secret }),
        Err(Stop::Missing(needs)) if bind::waits(&needs) => Ok(Bound::Waiting(*needs)),
        Err(stop) => Err(stop),
    }
}
