//! Evaluation of expressions and trees.
//!
//! An evaluation ends in a value, in an error, or in the list of live state it wants first ([`Stop::Missing`]). A
//! missing value does not end the walk: whatever else can be evaluated is, so that one round names all that is needed.

use std::sync::Arc;

use crate::data::{Data, Fields};
use crate::error::{Needs, Stop, TemplateError, Trouble};
use crate::expression::{Call, Expression, Kind, Term};
use crate::formula::Host;
use crate::frame::{Frame, Iteration, Region};
use crate::functions::{Arguments, Run};
use crate::gather::{Gather, Trace};
use crate::limits::Budget;
use crate::live::Live;
use crate::parameter::Bound;
use crate::symbols::Symbols;
use crate::template::UserFunction;
use crate::tree::{Key, Loop, Tree};
use crate::types::Types;

pub(crate) struct Evaluator<'a> {
    pub(crate) frame: &'a Frame,
    pub(crate) symbols: &'a Symbols,
    pub(crate) live: &'a dyn Live,
    pub(crate) budget: &'a mut Budget,
    pub(crate) region: Region,
    pub(crate) loops: Vec<Iteration>,
    /// Lambda variables; without a value while the list they would come from is missing.
    pub(crate) locals: Vec<Local>,
    /// The arguments of the user function being evaluated, and whether anything secret went into them.
    arguments: Option<(Vec<(String, Data)>, bool)>,
    /// Whether anything secret went into what is being evaluated: one term, and what it is made of.
    pub(crate) secret: bool,
    pub(crate) place: Arc<str>,
    depth: u32,
    visiting: Vec<(Region, String)>,
    /// Who is asked by what only policies have; none for templates.
    pub(crate) host: Option<&'a dyn Host>,
}

/// A lambda variable, and whether anything secret went into it.
pub(crate) struct Local {
    pub(crate) name: Arc<str>,
    pub(crate) value: Option<Data>,
    pub(crate) secret: bool,
}

pub(crate) type Outcome = Result<Data, Stop>;

impl<'a> Evaluator<'a> {
    pub(crate) fn new(frame: &'a Frame, symbols: &'a Symbols, live: &'a dyn Live, budget: &'a mut Budget) -> Self {
        Self {
            frame,
            symbols,
            live,
            budget,
            region: Region::Shape,
            loops: Vec::new(),
            locals: Vec::new(),
            arguments: None,
            secret: false,
            place: Arc::from(frame.template.place.as_str()),
            depth: 0,
            visiting: Vec::new(),
            host: None,
        }
    }

    /// Evaluates a value of the template with everything in it.
    pub(crate) fn tree(&mut self, tree: &Tree, trace: &mut Trace) -> Outcome {
        match tree {
            Tree::Literal(data) => Ok(data.clone()),
            Tree::Expression(expression) => {
                let before = std::mem::take(&mut self.secret);
                let outcome = self.expression(expression);
                if self.secret {
                    trace.secret();
                }
                self.secret |= before;
                outcome
            }
            Tree::Array(items) => self.deeper(|this| this.array(items, trace)),
            Tree::Object(entries) => self.deeper(|this| this.object(entries, trace)),
            Tree::Loop(made) => self.deeper(|this| this.repeat(made, trace)),
        }
    }

    /// As [`Self::tree`] where nobody asks which part is secret.
    pub(crate) fn value(&mut self, tree: &Tree) -> Outcome {
        self.tree(tree, &mut Trace::default())
    }

    pub(crate) fn expression(&mut self, expression: &Expression) -> Outcome {
        let outside = std::mem::replace(&mut self.place, expression.place.clone());
        let outcome = self.term(&expression.root);
        self.place = outside;
        outcome
    }

    fn array(&mut self, items: &[Tree], trace: &mut Trace) -> Outcome {
        let mut made = Gather::default();
        for (index, item) in items.iter().enumerate() {
            let mark = trace.item(index);
            made.add(self.tree(item, trace))?;
            trace.back(mark);
        }
        let data = Data::array(made.finish()?);
        self.account(&data)?;
        Ok(data)
    }

    fn object(&mut self, entries: &[(Key, Tree)], trace: &mut Trace) -> Outcome {
        let mut fields = Fields::default();
        let mut needs: Option<Needs> = None;
        for (key, tree) in entries {
            let name = match key {
                Key::Plain(name) => Ok(name.clone()),
                Key::Expression(expression) => self.member_name(expression),
            };
            let mark = trace.member(name.as_ref().map_or("", |name| &**name));
            let value = self.tree(tree, trace);
            trace.back(mark);
            match (name, value) {
                (Ok(name), Ok(value)) => fields.put(name, value),
                (Err(Stop::Missing(missing)), Ok(_)) | (Ok(_), Err(Stop::Missing(missing))) => {
                    needs.get_or_insert_default().absorb(*missing);
                }
                (Err(Stop::Missing(a)), Err(Stop::Missing(b))) => {
                    needs.get_or_insert_default().absorb(*a);
                    needs.get_or_insert_default().absorb(*b);
                }
                (Err(error @ Stop::Invalid(_)), _) | (_, Err(error @ Stop::Invalid(_))) => return Err(error),
            }
        }
        if let Some(needs) = needs {
            return Err(Stop::Missing(Box::new(needs)));
        }
        let data = fields.finish();
        self.account(&data)?;
        Ok(data)
    }

    /// The name of a member that an expression gives. Names cannot be blotted out, so they cannot be secret.
    fn member_name(&mut self, expression: &Expression) -> Result<Arc<str>, Stop> {
        let before = std::mem::take(&mut self.secret);
        let name = self.expression(expression);
        let secret = std::mem::replace(&mut self.secret, before);
        match name? {
            Data::Text(text) if !secret => Ok(text),
            other => {
                let message = if secret {
                    "The name of a property cannot be made from a secure value.".to_owned()
                } else {
                    format!("The name of a property must be a string, but the expression gives {}.", other.kind())
                };
                Err(TemplateError::at(&*expression.place, 0, message).into())
            }
        }
    }

    fn repeat(&mut self, made: &Loop, trace: &mut Trace) -> Outcome {
        let count = self.value(&made.count).map_err(|stop| self.possibly_inside(made, stop))?;
        let count = self.iterations(&count, &made.place)?;
        let mut items = Gather::default();
        for index in 0..count {
            self.spend(1)?;
            self.loops.push(Iteration { name: made.name.clone(), index, nameless: made.nameless });
            let mark = trace.item(index as usize);
            let item = self.tree(&made.input, trace);
            trace.back(mark);
            self.loops.pop();
            items.add(item)?;
        }
        let data = Data::array(items.finish()?);
        self.account(&data)?;
        Ok(data)
    }

    /// What the input of a loop might need, while nobody knows how often it turns.
    fn possibly_inside(&mut self, made: &Loop, stop: Stop) -> Stop {
        let Stop::Missing(mut needs) = stop else {
            return stop;
        };
        self.loops.push(Iteration { name: made.name.clone(), index: 0, nameless: made.nameless });
        if let Err(Stop::Missing(other)) = self.value(&made.input) {
            needs.absorb_possible(other.certain);
            needs.absorb_possible(other.possible);
        }
        self.loops.pop();
        Stop::Missing(needs)
    }

    /// The count of a loop, checked.
    pub(crate) fn iterations(&self, count: &Data, place: &str) -> Result<u32, Stop> {
        let most = self.frame.limits.iterations;
        match count {
            Data::Int(count) if *count < 0 => {
                Err(TemplateError::invalid(place, "The count of a loop cannot be negative.").into())
            }
            Data::Int(count) => match u32::try_from(*count) {
                Ok(count) if count <= most => Ok(count),
                _ => {
                    let message = format!("The loop has {count} turns; {most} are allowed.");
                    Err(TemplateError::too_large(place, message).into())
                }
            },
            other => {
                let message = format!("The count of a loop must be an integer, but it is {}.", other.kind());
                Err(TemplateError::invalid(place, message).into())
            }
        }
    }

    pub(crate) fn term(&mut self, term: &Term) -> Outcome {
        // What goes wrong in this term may be told unless something secret is in this very term.
        let before = std::mem::take(&mut self.secret);
        let outcome = self.deeper(|this| match &term.kind {
            Kind::Text(text) => Ok(Data::Text(text.clone())),
            Kind::Int(number) => Ok(Data::Int(*number)),
            Kind::Call(call) => this.call(call),
            Kind::UserCall { name, arguments } => this.user_call(term.offset, name, arguments),
            Kind::Property { of, name, safe } => this.property(term.offset, of, name, *safe),
            Kind::Index { of, index, safe } => this.index(term.offset, of, index, *safe),
        });
        self.secret |= before;
        outcome
    }

    fn call(&mut self, call: &Call) -> Outcome {
        let outcome = match call.function.run {
            Run::Pure(function) => {
                let values = self.arguments(&call.arguments)?;
                // Work grows with what is read and what is made; 16 bytes take about as long as a step.
                let read = values.iter().fold(0, |sum: u64, value| sum.saturating_add(value.own_bytes() / 16));
                self.spend(read)?;
                let mut arguments = Arguments::new(&values, self.budget);
                let made = function(&mut arguments).map_err(|trouble| self.blame(call, trouble))?;
                self.spend(made.own_bytes() / 16)?;
                made
            }
            Run::Special(function) => function(self, call)?,
        };
        self.account(&outcome).map_err(|stop| match stop {
            Stop::Invalid(error) => TemplateError { offset: Some(call.offset), ..*error }.into(),
            missing @ Stop::Missing(_) => missing,
        })?;
        Ok(outcome)
    }

    /// Evaluates every argument, also when an earlier one is missing.
    pub(crate) fn arguments(&mut self, terms: &[Term]) -> Result<Vec<Data>, Stop> {
        let mut values = Gather::default();
        for term in terms {
            values.add(self.term(term))?;
        }
        values.finish()
    }

    fn user_call(&mut self, offset: usize, name: &str, arguments: &[Term]) -> Outcome {
        let frame = self.frame;
        let Some(function) = frame.template.functions.get(&name.to_ascii_lowercase()) else {
            return Err(self.error(offset, format!("The template defines no function '{name}'.")));
        };
        if function.parameters.len() != arguments.len() {
            let message =
                format!("'{name}' takes {} arguments; {} are given.", function.parameters.len(), arguments.len());
            return Err(self.error(offset, message));
        }
        let values = self.arguments(arguments)?;
        let types = Types::new(&frame.template.definitions);
        let mut named = Vec::with_capacity(values.len());
        for (parameter, value) in function.parameters.iter().zip(values) {
            let checked = types.check(&value, &parameter.schema, self.budget).map_err(|trouble| {
                self.error(offset, format!("Argument '{}' of '{name}': {}", parameter.name, trouble.0))
            })?;
            named.push((parameter.name.clone(), checked));
        }
        let arguments = Some((named, self.secret));
        self.isolated(Region::Function, arguments, |this| this.user_function(function))
    }

    fn user_function(&mut self, function: &UserFunction) -> Outcome {
        self.value(&function.value)
    }

    fn property(&mut self, offset: usize, of: &Term, name: &str, safe: bool) -> Outcome {
        if let Kind::Call(call) = &of.kind
            && let Some(known) = crate::functions::scope::known_property(self, call, name)
        {
            return Ok(known);
        }
        let value = self.term(of)?;
        if self.secret {
            self.secret = !self.is_shown_output(of, name)?;
        }
        self.member(offset, &value, name, safe)
    }

    /// Whether `{of}.{name}` is an output that may be shown of a deployment that also has others. A secret that says which
    /// deployment is meant stays one.
    fn is_shown_output(&mut self, of: &Term, name: &str) -> Result<bool, Stop> {
        let Kind::Property { of: whole, name: outputs, .. } = &of.kind else { return Ok(false) };
        let Kind::Call(call) = &whole.kind else { return Ok(false) };
        if !outputs.eq_ignore_ascii_case("outputs") || !call.name.eq_ignore_ascii_case("reference") {
            return Ok(false);
        }
        self.secret = false;
        let is_shown = crate::functions::resource::shows_output(self, call, name)?;
        Ok(is_shown && !self.secret)
    }

    fn index(&mut self, offset: usize, of: &Term, index: &Term, safe: bool) -> Outcome {
        let mut values = Gather::default();
        values.add(self.term(of))?;
        values.add(self.term(index))?;
        match values.finish()?.as_slice() {
            [value, Data::Text(name)] => self.member(offset, value, name, safe),
            [Data::Array(array), Data::Int(index)] => {
                let found = usize::try_from(*index).ok().and_then(|index| array.items.get(index));
                match found {
                    Some(item) => Ok(item.clone()),
                    None if safe => Ok(Data::Null),
                    None => {
                        let message =
                            format!("The index {index} is out of bounds: the array has {} items.", array.items.len());
                        Err(self.error(offset, message))
                    }
                }
            }
            [Data::Null, _] if safe => Ok(Data::Null),
            [value, index] => {
                let message = format!("{} cannot be indexed by {}.", capital(value.kind()), index.kind());
                Err(self.error(offset, message))
            }
            _ => Ok(Data::Null),
        }
    }

    fn member(&mut self, offset: usize, value: &Data, name: &str, safe: bool) -> Outcome {
        let safe = safe || self.host.is_some();
        match value {
            Data::Object(object) => match object.find(name) {
                Some(found) => Ok(found.clone()),
                None if safe => Ok(Data::Null),
                None => {
                    let message = format!(
                        "The language expression property '{name}' doesn't exist, available properties are '{}'.",
                        object.names()
                    );
                    Err(self.error(offset, message))
                }
            },
            Data::Null if safe => Ok(Data::Null),
            other => Err(self.error(offset, format!("{} has no property '{name}'.", capital(other.kind())))),
        }
    }

    /// The value of a parameter: what the deployment gave, else its default.
    pub(crate) fn parameter(&mut self, name: &str) -> Option<Outcome> {
        if let Some((arguments, secret)) = &self.arguments {
            self.secret |= secret;
            let found = arguments.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
            return found.map(|(_, value)| Ok(value.clone()));
        }
        let lower = name.to_ascii_lowercase();
        let frame = self.frame;
        match frame.parameters.get(&lower) {
            Some(Bound::Value { data, secret }) => {
                self.secret |= secret;
                return Some(Ok(data.clone()));
            }
            Some(Bound::Vault(need)) => {
                self.secret = true;
                return Some(self.look_up(need, 0));
            }
            Some(Bound::Waiting(needs)) => return Some(Err(Stop::Missing(Box::new(needs.clone())))),
            None => {}
        }
        let parameter = frame.template.parameter(name)?;
        let default = parameter.default.as_ref()?;
        let types = Types::new(&frame.template.definitions);
        let value = self.computed(Region::Default, lower, |this| {
            let value = this.value(default)?;
            this.secret |= types.is_secure(&parameter.schema, this.budget).unwrap_or(true);
            types.check(&value, &parameter.schema, this.budget).map_err(|trouble| {
                TemplateError::invalid(&*parameter.place, format!("The default of '{}': {}", parameter.name, trouble.0))
                    .into()
            })
        });
        Some(value)
    }

    /// The value of a variable.
    pub(crate) fn variable(&mut self, name: &str) -> Option<Outcome> {
        let lower = name.to_ascii_lowercase();
        let tree = self.frame.template.variables.get(&lower)?;
        Some(self.computed(Region::Variable, lower, |this| match tree {
            // A loop that makes a variable has the variable's name.
            Tree::Loop(made) => this.repeat(made, &mut Trace::default()),
            other => this.value(other),
        }))
    }

    /// Evaluates a variable or default once for all, in a scope of its own.
    fn computed(&mut self, region: Region, name: String, evaluate: impl FnOnce(&mut Self) -> Outcome) -> Outcome {
        if let Some((data, secret)) = self.frame.known(region, &name) {
            self.secret |= secret;
            return Ok(data);
        }
        let id = (region, name);
        if self.visiting.contains(&id) {
            let circle: Vec<&str> =
                self.visiting.iter().map(|(_, name)| name.as_str()).chain([id.1.as_str()]).collect();
            return Err(self.error(0, format!("These refer to each other in a circle: {}.", circle.join(" -> "))));
        }
        self.visiting.push(id.clone());
        let before = std::mem::take(&mut self.secret);
        let outcome = self.isolated(region, None, evaluate);
        let secret = std::mem::replace(&mut self.secret, before);
        self.secret |= secret;
        self.visiting.pop();
        if let Ok(data) = &outcome {
            self.frame.remember(id.0, id.1, data.clone(), secret);
        }
        outcome
    }

    fn isolated(
        &mut self,
        region: Region,
        arguments: Option<(Vec<(String, Data)>, bool)>,
        evaluate: impl FnOnce(&mut Self) -> Outcome,
    ) -> Outcome {
        let outside = (self.region, std::mem::take(&mut self.loops), std::mem::take(&mut self.locals));
        let outer_arguments = std::mem::replace(&mut self.arguments, arguments);
        let place = self.place.clone();
        self.region = region;
        let outcome = evaluate(self);
        (self.region, self.loops, self.locals) = outside;
        self.arguments = outer_arguments;
        self.place = place;
        outcome
    }

    pub(crate) fn deeper<T>(&mut self, evaluate: impl FnOnce(&mut Self) -> Result<T, Stop>) -> Result<T, Stop> {
        if self.depth >= self.frame.limits.evaluation_depth {
            let message =
                format!("The evaluation is nested deeper than {} levels.", self.frame.limits.evaluation_depth);
            return Err(TemplateError::too_large(&*self.place, message).into());
        }
        self.depth += 1;
        let outcome = self.spend(1).and_then(|()| evaluate(self));
        self.depth -= 1;
        outcome
    }

    pub(crate) fn spend(&mut self, units: u64) -> Result<(), Stop> {
        self.budget.steps(units).map_err(|trouble| TemplateError::too_large(&*self.place, trouble.0).into())
    }

    /// Pays for a value that has just been made.
    fn account(&mut self, data: &Data) -> Result<(), Stop> {
        let limits = self.frame.limits;
        let paid = self.budget.bytes(data.own_bytes());
        let fault = match paid {
            Err(Trouble(message)) => message,
            Ok(()) if data.weight() > limits.value_bytes => {
                format!("The value has more than {} bytes.", limits.value_bytes)
            }
            Ok(()) if data.depth() > limits.json_depth => {
                format!("The value is nested deeper than {} levels.", limits.json_depth)
            }
            Ok(()) => return Ok(()),
        };
        Err(TemplateError::too_large(&*self.place, fault).into())
    }

    /// An error at a byte of the expression. Once something secret went into it, the message is not shown: it could
    /// quote the secret.
    pub(crate) fn error(&self, offset: usize, message: impl Into<String>) -> Stop {
        let message = if self.secret { HIDDEN.to_owned() } else { message.into() };
        TemplateError::at(&*self.place, offset, message).into()
    }

    pub(crate) fn blame(&self, call: &Call, trouble: impl Into<Trouble>) -> Stop {
        let Trouble(message) = trouble.into();
        let trouble = if self.secret { HIDDEN } else { &message };
        let message = format!("The function '{}': {trouble}", call.name);
        TemplateError::at(&*self.place, call.offset, message).into()
    }
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_ascii_uppercase().to_string() + characters.as_str()).unwrap_or_default()
}

const HIDDEN: &str =
    "It cannot be evaluated. The reason is not shown, because a secure value is part of the expression.";
