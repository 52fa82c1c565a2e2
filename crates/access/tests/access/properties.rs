//! Laws that hold for every set of roles, assignments and denies.

use bastide_access::{Access, AccessChanges, Attributes, Decision, DenyAssignment, DenyPrincipal, Permission, Project};
use bastide_access::{Request, RoleAssignment, RoleDefinition};
use proptest::prelude::*;
use uuid::Uuid;

use crate::common::{self, principal};

/// A small world, in which random roles, assignments and questions meet often.
#[derive(Debug, Clone)]
struct World {
    roles: Vec<RoleDefinition>,
    assignments: Vec<RoleAssignment>,
    denies: Vec<DenyAssignment>,
    projects: Vec<Project>,
    questions: Vec<Question>,
}

#[derive(Debug, Clone)]
struct Question {
    principal: Uuid,
    groups: Vec<Uuid>,
    action: String,
    data: bool,
    scope: String,
}

impl World {
    fn compile(&self) -> Access {
        Access::compile_with_projects(&self.roles, &self.assignments, &self.denies, &self.projects).unwrap()
    }

    fn decisions(&self) -> Vec<Decision> {
        let access = self.compile();
        self.questions.iter().map(|question| question.ask(&access)).collect()
    }

    fn allowed(&self) -> Vec<bool> {
        self.decisions().into_iter().map(Decision::is_allowed).collect()
    }

    /// The same world and question, decided by the words of the reference, naively.
    fn by_definition(&self, question: &Question) -> bool {
        let principals: Vec<_> = std::iter::once(question.principal).chain(question.groups.iter().copied()).collect();
        let mentioned = |list: &[DenyPrincipal]| list.iter().any(|one| principals.contains(&one.id));
        let everyone = |list: &[DenyPrincipal]| list.iter().any(|one| one.id.is_nil());
        let denied = self.denies.iter().any(|deny| {
            let here = deny.scope.eq_ignore_ascii_case(&question.scope);
            covers(&deny.scope, &question.scope)
                && (here || !deny.do_not_apply_to_child_scopes)
                && (everyone(&deny.principals) || mentioned(&deny.principals))
                && !mentioned(&deny.exclude_principals)
                && deny.permissions.iter().any(|block| question.is_in(block))
        });
        let granted = self.assignments.iter().any(|assignment| {
            let role = self.roles.iter().find(|role| role.id == assignment.role_definition_id);
            principals.contains(&assignment.principal_id)
                && (covers(&assignment.scope, &question.scope) || self.reaches_project(assignment, &question.scope))
                && role.is_some_and(|role| role.permissions.iter().any(|block| question.is_in(block)))
        });
        granted && !denied
    }

    fn reaches_project(&self, assignment: &RoleAssignment, scope: &str) -> bool {
        assignment.reaches_projects
            && self
                .projects
                .iter()
                .any(|project| covers(&project.id, scope) && project.hub.eq_ignore_ascii_case(&assignment.scope))
    }
}

impl Question {
    fn ask(&self, access: &Access) -> Decision {
        access.decide(&Request {
            principal: self.principal,
            groups: &self.groups,
            action: &self.action,
            data: self.data,
            scope: &self.scope,
            attributes: &Attributes::NONE,
        })
    }

    fn is_in(&self, block: &Permission) -> bool {
        let (covered, subtracted) = if self.data {
            (&block.data_actions, &block.not_data_actions)
        } else {
            (&block.actions, &block.not_actions)
        };
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(&pattern.to_lowercase(), &self.action));
        any(covered) && !any(subtracted)
    }
}

fn covers(ancestor: &str, scope: &str) -> bool {
    let (ancestor, scope) = (ancestor.to_lowercase(), scope.to_lowercase());
    ancestor == "/" || scope == ancestor || scope.starts_with(&format!("{ancestor}/"))
}

/// glob(p), or glob(p with a `/*/` replaced by `/`).
fn matches(pattern: &str, action: &str) -> bool {
    let fewer = pattern.find("/*/").map(|at| format!("{}{}", &pattern[..at], &pattern[at + 2..]));
    glob(pattern.as_bytes(), action.to_lowercase().as_bytes()) || fewer.is_some_and(|fewer| matches(&fewer, action))
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|at| glob(rest, &text[at..])),
        Some((byte, rest)) => text.first() == Some(byte) && glob(rest, &text[1..]),
    }
}

fn pattern() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\*",
        "\\*/(read|write)",
        "(A\\.b|C)/\\*",
        "(A\\.b|C)(/\\*)?/(read|Write)",
        "(A\\.b|C)(/d)?/(\\*|read)"
    ]
}

fn block() -> impl Strategy<Value = Permission> {
    let few = || prop::collection::vec(pattern(), 0..3);
    (few(), few(), few(), few()).prop_map(|(actions, not_actions, data_actions, not_data_actions)| Permission {
        actions,
        not_actions,
        data_actions,
        not_data_actions,
        ..Permission::default()
    })
}

fn scope() -> impl Strategy<Value = String> {
    prop_oneof![Just("/".to_owned()), "/s/[ab](/r/[cC](/p/x/[de])?)?"]
}

fn world() -> impl Strategy<Value = World> {
    let roles = prop::collection::vec(prop::collection::vec(block(), 1..3), 1..4).prop_map(|roles| {
        let roles = roles.into_iter().enumerate();
        roles.map(|(at, permissions)| RoleDefinition { permissions, ..common::role(at as u128, &[], &[]) }).collect()
    });
    let assignment = (scope(), 0..4_u128, 0..4_u128, any::<bool>());
    let assignments = prop::collection::vec(assignment, 0..8).prop_map(|list| {
        let list = list.into_iter().enumerate();
        let made = list.map(|(at, (scope, role, to, reaches_projects))| RoleAssignment {
            reaches_projects,
            ..common::assignment(at as u128, &scope, role, to)
        });
        made.collect()
    });
    let deny = (scope(), block(), any::<bool>(), prop::option::of(0..4_u128), prop::option::of(0..4_u128));
    let denies = prop::collection::vec(deny, 0..3).prop_map(|list| list.into_iter().map(make_deny).collect());
    let question = (0..3_u128, prop::collection::vec(2..4_u128, 0..2), action(), any::<bool>(), scope());
    let questions = prop::collection::vec(question, 1..20).prop_map(|list| {
        let questions = list.into_iter().map(|(who, groups, action, data, scope)| Question {
            principal: principal(who),
            groups: groups.into_iter().map(principal).collect(),
            action,
            data,
            scope,
        });
        questions.collect()
    });
    (roles, assignments, denies, projects(), questions).prop_map(|(roles, assignments, denies, projects, questions)| {
        World { roles, assignments, denies, projects, questions }
    })
}

/// Some resources are projects of others.
fn projects() -> impl Strategy<Value = Vec<Project>> {
    let resource = || "/s/[ab]/r/c/p/x/[de]";
    prop::collection::hash_map(resource(), resource(), 0..3)
        .prop_map(|projects| projects.into_iter().map(|(id, hub)| Project { id, hub }).collect())
}

fn action() -> impl Strategy<Value = String> {
    "(a\\.b|c|e)(/d)?(/f)?/(read|write)"
}

type DenyParts = (String, Permission, bool, Option<u128>, Option<u128>);

fn make_deny((scope, block, here_only, denied, excluded): DenyParts) -> DenyAssignment {
    let one = |number| DenyPrincipal { id: principal(number), kind: "User".to_owned() };
    DenyAssignment {
        permissions: vec![block],
        do_not_apply_to_child_scopes: here_only,
        principals: vec![denied.map_or_else(DenyPrincipal::everyone, one)],
        exclude_principals: excluded.map(one).into_iter().collect(),
        ..common::deny(&scope, &[])
    }
}

fn implies(before: &[bool], after: &[bool]) -> bool {
    before.iter().zip(after).all(|(before, after)| !before || *after)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn decisions_agree_with_the_definition(world in world()) {
        let access = world.compile();
        for question in &world.questions {
            prop_assert_eq!(question.ask(&access).is_allowed(), world.by_definition(question), "{:?}", question);
        }
    }

    /// Whatever the steps in which assignments and projects came and went, the last snapshot is the one compiled anew.
    #[test]
    fn changes_one_by_one_lead_where_a_compilation_leads(
        world in world(),
        before in prop::collection::vec((scope(), 0..4_u128, 0..4_u128, any::<bool>()), 0..6),
        before_projects in projects(),
    ) {
        let old: Vec<_> = (0..).zip(&before).map(|(at, (scope, role, to, reaches_projects))| RoleAssignment {
            reaches_projects: *reaches_projects,
            ..common::assignment(at, scope, *role, *to)
        }).collect();
        let first = World { assignments: old.clone(), projects: before_projects.clone(), ..world.clone() };
        let mut access = first.compile();
        let then = first.decisions();
        let kept = access.clone();
        for gone in &old {
            access = access.with(&AccessChanges { removed: vec![gone], ..AccessChanges::default() });
        }
        for project in &before_projects {
            access = access.with(&AccessChanges { projects: vec![(&project.id, None)], ..AccessChanges::default() });
        }
        for new in &world.assignments {
            access = access.with(&AccessChanges { added: vec![new], ..AccessChanges::default() });
        }
        let projects = world.projects.iter().map(|project| (&*project.id, Some(&*project.hub))).collect();
        access = access.with(&AccessChanges { projects, ..AccessChanges::default() });
        for question in &world.questions {
            prop_assert_eq!(question.ask(&access).is_allowed(), world.by_definition(question), "{:?}", question);
        }
        let still: Vec<_> = world.questions.iter().map(|question| question.ask(&kept)).collect();
        prop_assert_eq!(still, then, "a snapshot never changes");
    }

    #[test]
    fn one_assignment_more_never_takes_access_away(world in world(), at in scope(), role in 0..4_u128, to in 0..4_u128) {
        let mut more = world.clone();
        more.assignments.push(common::assignment(99, &at, role, to));
        prop_assert!(implies(&world.allowed(), &more.allowed()));
    }

    #[test]
    fn one_deny_more_never_gives_access(world in world()) {
        let before = world.allowed();
        let mut fewer = world.clone();
        fewer.denies.clear();
        prop_assert!(implies(&before, &fewer.allowed()));
    }

    #[test]
    fn a_deny_of_everything_to_everyone_leaves_nothing(world in world()) {
        let mut shut = world.clone();
        let mut deny = common::deny("/", &["*"]);
        deny.permissions[0].data_actions.push("*".to_owned());
        shut.denies.push(deny);
        prop_assert!(shut.allowed().iter().all(|allowed| !allowed));
    }

    #[test]
    fn order_and_case_change_nothing(world in world()) {
        let mut other = world.clone();
        other.roles.reverse();
        other.assignments.reverse();
        other.denies.reverse();
        for role in &mut other.roles {
            role.permissions.reverse();
            for pattern in role.permissions.iter_mut().flat_map(|block| &mut block.actions) {
                pattern.make_ascii_uppercase();
            }
        }
        for assignment in &mut other.assignments {
            assignment.scope.make_ascii_uppercase();
        }
        for question in &mut other.questions {
            question.action.make_ascii_uppercase();
            question.scope.make_ascii_uppercase();
            question.groups.reverse();
        }
        prop_assert_eq!(world.allowed(), other.allowed());
    }

    /// Without denies, which may hold at one scope alone, access only grows downwards.
    #[test]
    fn a_child_scope_grants_what_its_parent_grants(world in world()) {
        let mut world = world;
        world.denies.clear();
        let mut below = world.clone();
        for question in &mut below.questions {
            question.scope = format!("{}/child/x", question.scope.trim_end_matches('/'));
        }
        prop_assert!(implies(&world.allowed(), &below.allowed()));
    }

    #[test]
    fn not_actions_of_one_block_take_nothing_from_another(world in world(), taken in pattern()) {
        let mut world = world;
        world.denies.clear();
        let mut with_block = world.clone();
        for role in &mut with_block.roles {
            role.permissions.push(Permission {
                actions: vec!["*".to_owned()],
                not_actions: vec![taken.clone(), "*".to_owned()],
                ..Permission::default()
            });
        }
        prop_assert_eq!(world.allowed(), with_block.allowed());
    }

    #[test]
    fn an_explanation_tells_the_same_decision_and_its_grounds(world in world()) {
        let access = world.compile();
        for question in &world.questions {
            let explanation = access.explain(&Request {
                principal: question.principal,
                groups: &question.groups,
                action: &question.action,
                data: question.data,
                scope: &question.scope,
                attributes: &Attributes::NONE,
            });
            let grants = explanation.assignments.iter().any(|step| {
                matches!(step.outcome, bastide_access::Outcome::Grants { .. })
            });
            prop_assert_eq!(explanation.decision, question.ask(&access));
            prop_assert_eq!(explanation.allowed, grants && explanation.denies.is_empty());
        }
    }
}
