//! Planning: from declarations to ordered nodes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use super::graph::Graph;
use super::nested::Waiting;
use super::node::{Node, NodeKind};
use super::{Plan, Skipped, bind, output};
use crate::context::Context;
use crate::data::Data;
use crate::declaration::{DEPLOYMENTS, Declaration};
use crate::error::{Stop, TemplateError};
use crate::evaluator::Evaluator;
use crate::frame::{Frame, Iteration, Region};
use crate::id::{self, Scope};
use crate::limits::Budget;
use crate::live::{Answer, Live, Need};
use crate::symbols::{Symbol, Symbols};
use crate::template::Template;
use crate::tree::Tree;

pub(super) struct Builder<'a> {
    pub(super) template: Arc<Template>,
    pub(super) frame: Arc<Frame>,
    pub(super) context: Arc<Context>,
    /// For a nested template of outer scope: the names and the loops of its parent.
    pub(super) above: Option<(Arc<Symbols>, Vec<Iteration>)>,
    pub(super) live: &'a dyn Live,
    pub(super) budget: &'a mut Budget,
    /// Resources so far, in this deployment and all around it.
    pub(super) total: &'a mut usize,
}

/// A declaration in one turn of its loops, named but not yet linked to others.
struct Draft<'t> {
    declaration: &'t Declaration,
    id: String,
    name: String,
    api_version: Option<String>,
    loops: Vec<Iteration>,
    /// The name of its own loop, and the turn.
    turn: Option<(String, usize)>,
    /// Its loop, counted over the plan, and its batch: one batch waits for the one before.
    batch: Option<(usize, usize)>,
}

/// What a child takes from its parent.
#[derive(Clone)]
struct Parent {
    name: String,
    scope: String,
}

#[derive(Default)]
struct Drafts<'t> {
    made: Vec<Draft<'t>>,
    skipped: Vec<Skipped>,
    serial_loops: usize,
}

impl Builder<'_> {
    pub(super) fn build(mut self) -> Result<Plan, Stop> {
        let template = self.template.clone();
        let loops = self.above.as_ref().map(|(_, loops)| loops.clone()).unwrap_or_default();
        let mut drafts = Drafts::default();
        for declaration in &template.resources {
            self.unroll(declaration, None, &loops, &mut drafts)?;
        }
        let above = self.above.take().map(|(symbols, _)| symbols);
        let symbols = Arc::new(Symbols::new(drafts.made.iter().map(symbol).collect(), above));
        unique(&drafts.made)?;
        let mut graph = Graph::new(drafts.made.len());
        self.explicit(&drafts.made, &symbols, &mut graph)?;
        serial(&drafts.made, &mut graph);
        let mut nodes = self.nodes(&drafts.made, &symbols);
        for (position, node) in nodes.iter_mut().enumerate() {
            self.implicit(position, node, &symbols, &mut graph)?;
        }
        let order = order(&nodes, &mut graph)?;
        for (position, node) in nodes.iter_mut().enumerate() {
            node.depends_on = graph.before(position).to_vec();
            node.depends_on.sort_unstable();
        }
        self.check_outputs(&symbols, &loops)?;
        let Self { template, frame, context, .. } = self;
        Ok(Plan { context, template, frame, symbols, nodes, order, skipped: drafts.skipped, loops })
    }

    /// Adds a declaration, each turn of its loop, and its children.
    fn unroll<'t>(
        &mut self,
        declaration: &'t Declaration,
        parent: Option<&Parent>,
        loops: &[Iteration],
        drafts: &mut Drafts<'t>,
    ) -> Result<(), Stop> {
        let Some(copy) = &declaration.copy else {
            return self.turn(declaration, parent, loops, None, None, drafts);
        };
        let mut evaluator = self.evaluator(loops);
        let name = text(&evaluator.value(&copy.name)?, &copy.place, "The name of a loop")?;
        let count = evaluator.value(&copy.count)?;
        let count = evaluator.iterations(&count, &copy.place)?;
        let batch_size = match &copy.batch_size {
            Some(size) => batch_size(&evaluator.value(size)?, &copy.place)?,
            None => 1,
        };
        let serial_loop = drafts.serial_loops;
        drafts.serial_loops += usize::from(copy.serial);
        let mut inside = loops.to_vec();
        for index in 0..count {
            inside.truncate(loops.len());
            inside.push(Iteration { name: Arc::from(name.as_str()), index, nameless: true });
            let index = index as usize;
            let batch = copy.serial.then_some((serial_loop, index / batch_size));
            self.turn(declaration, parent, &inside, Some((name.clone(), index)), batch, drafts)?;
        }
        Ok(())
    }

    fn turn<'t>(
        &mut self,
        declaration: &'t Declaration,
        parent: Option<&Parent>,
        loops: &[Iteration],
        turn: Option<(String, usize)>,
        batch: Option<(usize, usize)>,
        drafts: &mut Drafts<'t>,
    ) -> Result<(), Stop> {
        let wanted = self.condition(declaration, loops)?;
        if !wanted {
            let skipped = Skipped { place: declaration.place.clone(), type_name: declaration.type_name.clone() };
            drafts.skipped.push(skipped);
            // A condition does not reach the children: each has its own.
            if declaration.children.is_empty() {
                return Ok(());
            }
        }
        let name = self.name(declaration, parent, loops)?;
        let scope = self.scope(declaration, parent, loops)?;
        if wanted {
            self.count(declaration, drafts.made.len())?;
            let id = id::resource_id(&scope, &declaration.type_name, &name);
            let id = id.map_err(|message| TemplateError::invalid(format!("{}.name", declaration.place), message))?;
            let api_version = match &declaration.api_version {
                Some(tree) => {
                    let value = self.evaluator(loops).value(tree)?;
                    Some(text(&value, &format!("{}.apiVersion", declaration.place), "The api-version")?)
                }
                None => None,
            };
            let (name, loops) = (name.clone(), loops.to_vec());
            drafts.made.push(Draft { declaration, id, name, api_version, loops, turn, batch });
        }
        let parent = Parent { name, scope };
        declaration.children.iter().try_for_each(|child| self.unroll(child, Some(&parent), loops, drafts))
    }

    fn count(&mut self, declaration: &Declaration, made: usize) -> Result<(), Stop> {
        let limits = self.frame.limits;
        *self.total += 1;
        let (count, most) = match (made + 1, *self.total) {
            (made, _) if made > limits.resources => (made, limits.resources),
            (_, total) if total > limits.total_resources => (total, limits.total_resources),
            _ => return Ok(()),
        };
        let message =
            format!("The template has at least {count} resources; {most} are allowed. Split it into several.");
        Err(TemplateError::too_large(&declaration.place, message).into())
    }

    fn condition(&mut self, declaration: &Declaration, loops: &[Iteration]) -> Result<bool, Stop> {
        let Some(condition) = &declaration.condition else {
            return Ok(true);
        };
        match self.evaluator(loops).value(condition)? {
            Data::Bool(wanted) => Ok(wanted),
            // The service takes the words as well.
            Data::Text(word) if word.eq_ignore_ascii_case("true") => Ok(true),
            Data::Text(word) if word.eq_ignore_ascii_case("false") => Ok(false),
            other => {
                let message = format!("A condition must be a boolean, but it is {}.", other.kind());
                Err(TemplateError::invalid(format!("{}.condition", declaration.place), message).into())
            }
        }
    }

    fn name(
        &mut self,
        declaration: &Declaration,
        parent: Option<&Parent>,
        loops: &[Iteration],
    ) -> Result<String, Stop> {
        let place = format!("{}.name", declaration.place);
        let own = text(&self.evaluator(loops).value(&declaration.name)?, &place, "The name of a resource")?;
        match parent {
            Some(parent) if declaration.relative => Ok(format!("{}/{}", parent.name, own.trim_start_matches('/'))),
            _ => Ok(own),
        }
    }

    /// The id of what the resource is put into: its own `scope`, its own group or subscription, its parent's, or the
    /// deployment's.
    fn scope(
        &mut self,
        declaration: &Declaration,
        parent: Option<&Parent>,
        loops: &[Iteration],
    ) -> Result<String, Stop> {
        let deployment = self.context.scope();
        let mut part = |tree: &Option<Tree>, name: &str| match tree {
            None => Ok(None),
            Some(tree) => {
                let place = format!("{}.{name}", declaration.place);
                let value = self.evaluator(loops).value(tree)?;
                if value.is_null() { Ok(None) } else { text_or_empty(&value, &place, name).map(Some) }
            }
        };
        let scope = part(&declaration.scope, "scope")?;
        let subscription = part(&declaration.subscription, "subscriptionId")?.filter(|text| !text.is_empty());
        let group = part(&declaration.group, "resourceGroup")?.filter(|text| !text.is_empty());
        let id = match (scope, subscription, group) {
            (Some(scope), _, _) if scope.starts_with('/') => scope.trim_end_matches('/').to_owned(),
            (Some(scope), _, _) if scope.contains('/') => {
                format!("{}/providers/{scope}", relative_to(&deployment, &scope))
            }
            (Some(scope), _, _) => {
                let message =
                    format!("'{scope}' is not a scope; write the id of a resource, a group or a subscription.");
                return Err(TemplateError::invalid(format!("{}.scope", declaration.place), message).into());
            }
            (None, None, None) => parent.map_or_else(|| deployment.id(), |parent| parent.scope.clone()),
            (None, Some(subscription), None) => Scope::Subscription(subscription).id(),
            (None, subscription, Some(group)) => {
                let Some(subscription) = subscription.or_else(|| deployment.subscription().map(str::to_owned)) else {
                    let message =
                        "A 'resourceGroup' needs a 'subscriptionId' when the deployment is not in a subscription.";
                    return Err(TemplateError::invalid(&declaration.place, message).into());
                };
                Scope::Group { subscription, group }.id()
            }
        };
        if declaration.type_name.eq_ignore_ascii_case(DEPLOYMENTS) && Scope::parse(&id).is_none() {
            let message = format!(
                "A deployment cannot be nested into '{id}', which is not a group, a subscription or the tenant."
            );
            return Err(TemplateError::invalid(format!("{}.scope", declaration.place), message).into());
        }
        Ok(id)
    }

    fn nodes(&self, drafts: &[Draft<'_>], symbols: &Arc<Symbols>) -> Vec<Node> {
        let node = |draft: &Draft<'_>| Node {
            id: draft.id.clone(),
            type_name: id::type_of(&draft.id).unwrap_or_else(|| draft.declaration.type_name.clone()),
            name: draft.name.clone(),
            api_version: draft.api_version.clone(),
            symbol: draft.declaration.symbol.clone(),
            place: draft.declaration.place.clone(),
            kind: match draft.declaration {
                Declaration { existing: true, .. } => NodeKind::Existing,
                Declaration { nested: Some(_), .. } => NodeKind::Deployment,
                _ => NodeKind::Resource,
            },
            depends_on: Vec::new(),
            frame: self.frame.clone(),
            symbols: symbols.clone(),
            context: self.context.clone(),
            loops: draft.loops.clone(),
            body: draft.declaration.body.clone(),
            nested: draft.declaration.nested.clone(),
            plan: None,
        };
        drafts.iter().map(node).collect()
    }

    /// Edges from `dependsOn`. What names nothing that is deployed is ignored: templates rely on it for resources
    /// whose condition is false, and for ones that are there already.
    fn explicit(&mut self, drafts: &[Draft<'_>], symbols: &Symbols, graph: &mut Graph) -> Result<(), Stop> {
        for (position, draft) in drafts.iter().enumerate() {
            let Some(tree) = &draft.declaration.depends_on else {
                continue;
            };
            let mut evaluator = Evaluator::new(&self.frame, symbols, self.live, self.budget);
            evaluator.loops.clone_from(&draft.loops);
            let place = format!("{}.dependsOn", draft.declaration.place);
            let value = evaluator.value(tree)?;
            let Data::Array(array) = &value else {
                return Err(TemplateError::invalid(place, "'dependsOn' must be an array of strings.").into());
            };
            for item in &array.items {
                let Some(dependency) = item.as_text() else {
                    return Err(TemplateError::invalid(place, "'dependsOn' must be an array of strings.").into());
                };
                for before in symbols.dependencies(dependency) {
                    graph.add(position, before);
                }
            }
        }
        Ok(())
    }

    /// Edges from live state: a body, or the parameters of a nested deployment, refer to something that is deployed.
    /// On the way everything that can be evaluated without live state is.
    fn implicit(&mut self, position: usize, node: &mut Node, symbols: &Symbols, graph: &mut Graph) -> Result<(), Stop> {
        let recorder = Recorder { symbols, inner: self.live, seen: RefCell::default() };
        match node.kind {
            NodeKind::Existing => return Ok(()),
            NodeKind::Resource => {
                unless_waiting(node.body_within(&recorder, self.budget))?;
            }
            NodeKind::Deployment => {
                unless_waiting(node.body_within(&recorder, self.budget))?;
                let expanded = node.expand_within(Waiting::MayStay, &recorder, self.budget, self.total);
                node.plan = unless_waiting(expanded)?.flatten().map(Arc::new);
            }
        }
        for need in recorder.seen.take() {
            for before in symbols.by_id(need.id()) {
                graph.add(position, *before);
            }
        }
        Ok(())
    }

    /// Finds mistakes in outputs before anything is deployed.
    fn check_outputs(&mut self, symbols: &Symbols, loops: &[Iteration]) -> Result<(), Stop> {
        let recorder = Recorder { symbols, inner: self.live, seen: RefCell::default() };
        let outputs = output::evaluate(&self.template, &self.frame, symbols, &recorder, self.budget, loops);
        unless_waiting(outputs).map(drop)
    }

    /// An evaluator for what shapes the plan. No resource of it has a name yet, so only those above can be meant.
    fn evaluator<'b>(&'b mut self, loops: &[Iteration]) -> Evaluator<'b> {
        let symbols = self.above.as_ref().map_or(&*NO_SYMBOLS, |(symbols, _)| symbols);
        let mut evaluator = Evaluator::new(&self.frame, symbols, self.live, self.budget);
        // A nested template of outer scope is evaluated while its parent runs, where live state is at hand.
        evaluator.region = if self.above.is_some() { Region::Body } else { Region::Shape };
        evaluator.loops = loops.to_vec();
        evaluator
    }
}

/// Answers nothing about what the plan deploys, and notes everything that is asked.
struct Recorder<'a> {
    symbols: &'a Symbols,
    inner: &'a dyn Live,
    seen: RefCell<Vec<Need>>,
}

impl Live for Recorder<'_> {
    fn look_up(&self, need: &Need) -> Answer {
        self.seen.borrow_mut().push(need.clone());
        if self.symbols.by_id(need.id()).is_empty() { self.inner.look_up(need) } else { Answer::Missing }
    }

    fn shows_output(&self, deployment: &str, output: &str) -> bool {
        self.inner.shows_output(deployment, output)
    }
}

/// What waits for live state is fine while planning; a document or an error is not.
fn unless_waiting<T>(outcome: Result<T, Stop>) -> Result<Option<T>, Stop> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(Stop::Missing(needs)) if bind::waits(&needs) => Ok(None),
        Err(stop) => Err(stop),
    }
}

fn symbol(draft: &Draft<'_>) -> Symbol {
    Symbol {
        id: draft.id.clone(),
        type_name: draft.declaration.type_name.clone(),
        name: draft.name.clone(),
        api_version: draft.api_version.clone(),
        alias: draft.declaration.symbol.clone(),
        iteration: draft.turn.clone(),
    }
}

/// One resource may be deployed once only; conditions may choose between two declarations of it.
fn unique(drafts: &[Draft<'_>]) -> Result<(), Stop> {
    let mut seen: HashMap<String, &Draft<'_>> = HashMap::new();
    for draft in drafts.iter().filter(|draft| !draft.declaration.existing) {
        if let Some(first) = seen.insert(id::key(&draft.id), draft) {
            let message = format!(
                "The resource '{}' is defined multiple times in the template, first at {}.",
                draft.id, first.declaration.place
            );
            return Err(TemplateError::invalid(&draft.declaration.place, message).into());
        }
    }
    Ok(())
}

/// Each batch of a serial loop after the batch before it.
fn serial(drafts: &[Draft<'_>], graph: &mut Graph) {
    let mut batches: HashMap<(usize, usize), Vec<usize>> = HashMap::new();
    for (position, draft) in drafts.iter().enumerate() {
        if let Some(batch) = draft.batch {
            batches.entry(batch).or_default().push(position);
        }
    }
    for ((made, number), positions) in &batches {
        let before = number.checked_sub(1).and_then(|before| batches.get(&(*made, before)));
        for position in positions {
            before.into_iter().flatten().for_each(|before| graph.add(*position, *before));
        }
    }
}

fn order(nodes: &[Node], graph: &mut Graph) -> Result<Vec<usize>, Stop> {
    let order = graph.order().map_err(|circle| circular(nodes, &circle))?;
    ancestors(nodes, &order, graph);
    graph.order().map_err(|circle| circular(nodes, &circle))
}

/// A child comes after its parent, an extension after what it extends, also where the template does not say so:
/// the cloud would refuse the child. Where the template says the contrary, the template wins.
fn ancestors(nodes: &[Node], order: &[usize], graph: &mut Graph) {
    let keys: Vec<String> = nodes.iter().map(Node::key).collect();
    let by_key: HashMap<&str, usize> = keys.iter().enumerate().map(|(at, key)| (key.as_str(), at)).collect();
    let mut place = vec![0; nodes.len()];
    for (at, node) in order.iter().enumerate() {
        if let Some(place) = place.get_mut(*node) {
            *place = at;
        }
    }
    let mut against = Vec::new();
    for (node, key) in keys.iter().enumerate() {
        if let Some(above) = id::ancestors(key).find_map(|id| by_key.get(id).copied()) {
            if place.get(above) < place.get(node) {
                graph.add(node, above);
            } else {
                against.push((node, above));
            }
        }
    }
    for (node, above) in against {
        if !graph.waits_for(above, node) {
            graph.add(node, above);
        }
    }
}

fn circular(nodes: &[Node], circle: &[usize]) -> Stop {
    let names: Vec<&str> = circle.iter().filter_map(|at| nodes.get(*at)).map(|node| node.id.as_str()).collect();
    let place = circle.first().and_then(|at| nodes.get(*at)).map_or("$.resources", |node| node.place.as_str());
    let message = format!("Circular dependency detected: {}.", names.join(" -> "));
    TemplateError::invalid(place, message).into()
}

/// `Microsoft.Management/managementGroups/x` stands at the tenant; other types where the deployment goes.
fn relative_to(deployment: &Scope, scope: &str) -> String {
    let tenant = scope.to_ascii_lowercase().starts_with("microsoft.management/managementgroups/");
    if tenant { String::new() } else { deployment.id() }
}

fn batch_size(value: &Data, place: &str) -> Result<usize, Stop> {
    let size = if let Data::Int(size) = value { usize::try_from(*size).ok() } else { None };
    size.filter(|size| *size > 0).ok_or_else(|| {
        let message = "The batch size of a loop must be a positive integer.";
        TemplateError::invalid(format!("{place}.batchSize"), message).into()
    })
}

fn text(value: &Data, place: &str, what: &str) -> Result<String, Stop> {
    let text = text_or_empty(value, place, what)?;
    if text.is_empty() {
        return Err(TemplateError::invalid(place, format!("{what} must not be empty.")).into());
    }
    Ok(text)
}

fn text_or_empty(value: &Data, place: &str, what: &str) -> Result<String, Stop> {
    match value {
        Data::Text(text) => Ok(text.to_string()),
        other => {
            Err(TemplateError::invalid(place, format!("{what} must be a string, but it is {}.", other.kind())).into())
        }
    }
}

static NO_SYMBOLS: std::sync::LazyLock<Symbols> = std::sync::LazyLock::new(Symbols::default);
