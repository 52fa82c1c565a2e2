//! The access crate against cedar-policy: the same decisions on the same data, and how fast each is.
//!
//! `cargo run -- check` checks 100,000 random decisions and fails on the first difference; `cargo run --release` does so
//! and prints both times. In
//! Cedar, scopes and groups are entities, a permission block is a policy template, an assignment a link to it, and a deny
//! assignment a `forbid`. Cedar tries policies one by one, so its time grows with the assignments; a cleverer model of the
//! same data would be faster there. Conditions are left out: Cedar has a language of its own for them.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use bastide_access::{Access, Attributes, DenyAssignment, DenyPrincipal, Permission, RoleAssignment, RoleDefinition};
use bastide_access::{Request, builtin_roles};
use cedar_policy::{Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, Policy};
use cedar_policy::{PolicyId, PolicySet, RestrictedExpression, SlotId, Template};
use uuid::Uuid;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut random = Random(0x5EED);
    let (mut asked, mut allowed) = (0, 0);
    for _ in 0..WORLDS {
        let world = World::new(30, 12, 4, 3, &mut random);
        let (access, oracle) = (world.access()?, Oracle::new(&world)?);
        for _ in 0..DECISIONS / WORLDS {
            let question = world.question(&mut random);
            let ours = question.ask(&access);
            if ours != oracle.ask(&question)? {
                return Err(format!("ours: {ours}, Cedar: {}\n{question:#?}\n{world:#?}", !ours).into());
            }
            asked += 1;
            allowed += u32::from(ours);
        }
    }
    println!("{asked} decisions, {allowed} allowed, 0 differences");
    if std::env::args().nth(1).as_deref() == Some("check") {
        return Ok(());
    }
    for (assignments, principals, groups, questions) in [(1_000, 100, 20, 200), (100_000, 10_000, 500, 5)] {
        compare(&World::new(assignments, principals, groups, 0, &mut random), questions, &mut random)?;
    }
    Ok(())
}

/// Times both on the same questions; ours on many more rounds of them.
fn compare(world: &World, questions: usize, random: &mut Random) -> Outcome<()> {
    let (access, oracle) = (world.access()?, Oracle::new(world)?);
    let questions: Vec<_> = (0..questions).map(|_| world.question(random)).collect();
    let started = Instant::now();
    for question in &questions {
        black_box(oracle.ask(question)?);
    }
    let theirs = started.elapsed().as_secs_f64() * 1e9 / questions.len() as f64;
    let rounds = 200_000 / questions.len();
    let started = Instant::now();
    for _ in 0..rounds {
        for question in &questions {
            black_box(question.ask(black_box(&access)));
        }
    }
    let ours = started.elapsed().as_secs_f64() * 1e9 / (rounds * questions.len()) as f64;
    let assignments = world.assignments.len();
    println!("{assignments} assignments: ours {ours:.0} ns, Cedar {theirs:.0} ns, ratio {:.0}", theirs / ours);
    Ok(())
}

/// Roles, who holds them where, and what is denied.
#[derive(Debug)]
struct World {
    roles: Vec<RoleDefinition>,
    assignments: Vec<RoleAssignment>,
    denies: Vec<DenyAssignment>,
    /// Every principal with its groups.
    principals: Vec<(Uuid, Vec<Uuid>)>,
    groups: Vec<Uuid>,
}

#[derive(Debug)]
struct Question {
    principal: Uuid,
    groups: Vec<Uuid>,
    action: String,
    data: bool,
    scope: String,
}

impl World {
    fn new(assignments: usize, principals: usize, groups: usize, denies: usize, random: &mut Random) -> Self {
        let groups: Vec<_> = (0..groups).map(|number| Uuid::from_u128(0x2000_0000 + number as u128)).collect();
        let principals: Vec<_> = (0..principals)
            .map(|number| {
                let mut member_of: Vec<_> = (0..random.below(3)).map(|_| *random.pick(&groups)).collect();
                member_of.dedup();
                (Uuid::from_u128(0x1000_0000 + number as u128), member_of)
            })
            .collect();
        let unconditional = |role: &&RoleDefinition| role.permissions.iter().all(|block| block.condition.is_none());
        let roles: Vec<_> = builtin_roles().iter().filter(unconditional).cloned().collect();
        let mut world = Self { roles, assignments: Vec::new(), denies: Vec::new(), principals, groups };
        for name in 0..assignments {
            let role = random.pick(&world.roles).id;
            let assignment =
                RoleAssignment::new(Uuid::from_u128(name as u128), scope(3, random), role, world.anybody(random));
            world.assignments.push(assignment);
        }
        for name in 0..random.below(denies + 1) {
            let deny = world.deny(name, random);
            world.denies.push(deny);
        }
        world
    }

    fn anybody(&self, random: &mut Random) -> Uuid {
        if random.below(2) == 0 { random.pick(&self.principals).0 } else { *random.pick(&self.groups) }
    }

    fn deny(&self, name: usize, random: &mut Random) -> DenyAssignment {
        let one = |id| DenyPrincipal { id, kind: "User".to_owned() };
        let mut principals = vec![one(self.anybody(random))];
        if random.below(2) == 0 {
            principals = vec![DenyPrincipal::everyone()];
        }
        let patterns = ["*/delete", "*/write", "Microsoft.MachineLearningServices/*/read", "*"];
        DenyAssignment {
            name: Uuid::from_u128(name as u128),
            deny_assignment_name: format!("Deny {name}"),
            description: None,
            permissions: vec![Permission {
                actions: vec![(*random.pick(&patterns)).to_owned()],
                not_actions: vec!["*/connections/*".to_owned()],
                data_actions: vec![(*random.pick(&patterns)).to_owned()],
                ..Permission::default()
            }],
            scope: scope(3, random),
            do_not_apply_to_child_scopes: random.below(3) == 0,
            principals,
            exclude_principals: (0..random.below(2)).map(|_| one(self.anybody(random))).collect(),
            is_system_protected: true,
            condition: None,
            condition_version: None,
        }
    }

    /// A question about an action that some role's pattern is about, with a segment more or less.
    fn question(&self, random: &mut Random) -> Question {
        let (principal, groups) = random.pick(&self.principals).clone();
        let role = random.pick(&self.roles);
        let block = random.pick(&role.permissions);
        let patterns: Vec<_> = [&block.actions, &block.not_actions, &block.data_actions, &block.not_data_actions]
            .into_iter()
            .flatten()
            .collect();
        let mut action = if patterns.is_empty() { "a.b/read".to_owned() } else { (*random.pick(&patterns)).clone() };
        action = match random.below(3) {
            0 => action.replace("/*/", "/"),
            1 => action.replace('*', "x"),
            _ => action.replace('*', "x/y"),
        };
        action = action.replace('*', "Microsoft.Hub/z");
        Question { principal, groups, action, data: random.below(4) == 0, scope: scope(4, random) }
    }

    fn access(&self) -> Outcome<Access> {
        Ok(Access::compile(&self.roles, &self.assignments, &self.denies)?)
    }
}

impl Question {
    fn ask(&self, access: &Access) -> bool {
        let request = Request {
            principal: self.principal,
            groups: &self.groups,
            action: &self.action,
            data: self.data,
            scope: &self.scope,
            attributes: &Attributes::NONE,
        };
        access.decide(&request).is_allowed()
    }
}

/// The same world in Cedar.
struct Oracle {
    policies: PolicySet,
    entities: Entities,
    action: EntityUid,
}

impl Oracle {
    fn new(world: &World) -> Outcome<Self> {
        let mut policies = PolicySet::new();
        for (role, definition) in world.roles.iter().enumerate() {
            for (at, block) in definition.permissions.iter().enumerate() {
                let id = PolicyId::new(format!("role-{role}-{at}"));
                let source = format!(
                    "permit(principal in ?principal, action, resource in ?resource) when {{ {} }};",
                    when(block)
                );
                policies.add_template(Template::parse(Some(id), source)?)?;
            }
        }
        let roles: HashMap<_, _> = world.roles.iter().enumerate().map(|(at, role)| (role.id, at)).collect();
        for assignment in &world.assignments {
            let role = roles[&assignment.role_definition_id];
            for at in 0..world.roles[role].permissions.len() {
                let slots = HashMap::from([
                    (SlotId::principal(), entity("P", &assignment.principal_id.to_string())?),
                    (SlotId::resource(), entity("S", &assignment.scope)?),
                ]);
                let (template, link) = (format!("role-{role}-{at}"), format!("{}-{at}", assignment.name));
                policies.link(PolicyId::new(template), PolicyId::new(link), slots)?;
            }
        }
        for deny in &world.denies {
            policies.add(Policy::parse(Some(PolicyId::new(format!("deny-{}", deny.name))), forbid(deny))?)?;
        }
        Ok(Self { policies, entities: entities(world)?, action: entity("Action", "any")? })
    }

    fn ask(&self, question: &Question) -> Outcome<bool> {
        let context = Context::from_pairs([
            ("action".to_owned(), RestrictedExpression::new_string(question.action.to_lowercase())),
            ("data".to_owned(), RestrictedExpression::new_bool(question.data)),
        ])?;
        let principal = entity("P", &question.principal.to_string())?;
        let resource = entity("S", &question.scope)?;
        let request = cedar_policy::Request::new(principal, self.action.clone(), resource, context, None)?;
        let answer = Authorizer::new().is_authorized(&request, &self.policies, &self.entities);
        Ok(answer.decision() == Decision::Allow)
    }
}

fn when(block: &Permission) -> String {
    let side = |covered: &[String], subtracted: &[String]| format!("({}) && !({})", likes(covered), likes(subtracted));
    let control = side(&block.actions, &block.not_actions);
    let data = side(&block.data_actions, &block.not_data_actions);
    format!("if context.data then {data} else {control}")
}

/// One of the patterns, each also with every `/*/` as `/`: no pattern here has more than one.
fn likes(patterns: &[String]) -> String {
    let spellings =
        patterns.iter().flat_map(|pattern| [pattern.to_lowercase(), pattern.to_lowercase().replace("/*/", "/")]);
    let likes: Vec<_> = spellings.map(|pattern| format!("context.action like \"{pattern}\"")).collect();
    if likes.is_empty() { "false".to_owned() } else { likes.join(" || ") }
}

fn forbid(deny: &DenyAssignment) -> String {
    let scope = &deny.scope;
    let resource = if deny.do_not_apply_to_child_scopes { "==" } else { "in" };
    let principal = match deny.principals.first() {
        Some(one) if !one.id.is_nil() => format!("principal in P::\"{}\"", one.id),
        _ => "principal".to_owned(),
    };
    let excluded: Vec<_> =
        deny.exclude_principals.iter().map(|one| format!("principal in P::\"{}\"", one.id)).collect();
    let unless = if excluded.is_empty() { "false".to_owned() } else { excluded.join(" || ") };
    let when = when(&deny.permissions[0]);
    format!("forbid({principal}, action, resource {resource} S::\"{scope}\") when {{ {when} }} unless {{ {unless} }};")
}

fn entities(world: &World) -> Outcome<Entities> {
    let mut all = Vec::new();
    for group in &world.groups {
        all.push(Entity::new_no_attrs(entity("P", &group.to_string())?, HashSet::new()));
    }
    for (principal, groups) in &world.principals {
        let parents = groups.iter().map(|group| entity("P", &group.to_string())).collect::<Outcome<_>>()?;
        all.push(Entity::new_no_attrs(entity("P", &principal.to_string())?, parents));
    }
    all.push(Entity::new_no_attrs(entity("S", "/")?, HashSet::new()));
    let mut parents = vec!["/".to_owned()];
    for (kind, count) in LEVELS {
        let children: Vec<_> = parents
            .iter()
            .flat_map(|parent| {
                (0..count).map(move |at| (parent.clone(), format!("{}/{kind}{at}", parent.trim_end_matches('/'))))
            })
            .collect();
        for (parent, child) in &children {
            all.push(Entity::new_no_attrs(entity("S", child)?, HashSet::from([entity("S", parent)?])));
        }
        parents = children.into_iter().map(|(_, child)| child).collect();
    }
    Ok(Entities::from_entities(all, None)?)
}

fn entity(kind: &str, id: &str) -> Outcome<EntityUid> {
    Ok(EntityUid::from_type_name_and_id(kind.parse::<EntityTypeName>()?, EntityId::new(id)))
}

/// The root, or something up to `depth` levels below it.
fn scope(depth: usize, random: &mut Random) -> String {
    let depth = random.below(depth + 1);
    let levels = LEVELS.iter().take(depth).map(|(kind, count)| format!("/{kind}{}", random.below(*count)));
    let scope: String = levels.collect();
    if scope.is_empty() { "/".to_owned() } else { scope }
}

/// splitmix64: the same worlds on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

const WORLDS: usize = 200;
const DECISIONS: usize = 100_000;

/// Subscriptions, resource groups, hubs, connections: how an id goes on, and how many there are.
const LEVELS: [(&str, usize); 4] = [
    ("subscriptions/s", 2),
    ("resourceGroups/g", 3),
    ("providers/Microsoft.MachineLearningServices/workspaces/h", 3),
    ("connections/c", 2),
];
