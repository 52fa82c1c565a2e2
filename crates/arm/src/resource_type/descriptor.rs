//! The static facts of a resource type.

/// The static facts of a resource type.
#[derive(Debug, Clone)]
pub struct Descriptor {
    /// Provider namespace in canonical spelling, `Microsoft.MachineLearningServices`.
    pub namespace: &'static str,
    /// Type path in canonical spelling, one segment a level: `["workspaces", "connections"]`.
    pub types: &'static [&'static str],
    /// Where resources of this type live.
    pub placement: Placement,
    /// Has a location and tags and shows up in the subscription's list of resources.
    pub tracked: bool,
    /// What a name may look like.
    pub name: NameRule,
    /// Which managed identities the envelope may ask for.
    pub identity: IdentitySupport,
    /// Properties that only the server writes; a body that carries them (GET, change, PUT) is accepted without them.
    pub read_only: &'static [&'static str],
    /// Which properties a PATCH may carry; `None` is all that are not read-only.
    pub patchable: Option<&'static [&'static str]>,
    /// Success statuses of PUT. Clients are strict per type (status-codes.txt, arm-models.md section 2).
    pub put: PutStatus,
    /// What the type wants to see of its surroundings when it admits and answers.
    pub surroundings: Surroundings,
    /// Actions by POST, in canonical spelling.
    pub actions: &'static [Action],
    /// api-versions to name in provider listings, newest first. Reading never depends on them.
    pub api_versions: &'static [&'static str],
    /// What serves the resource beyond its row.
    pub data_plane: DataPlane,
}

/// The level a type's resources live at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// In a resource group (or below a resource in one, for child types).
    ResourceGroup,
    /// Directly in a subscription: resource groups.
    Subscription,
    /// Anywhere: an extension of any scope.
    Extension,
}

/// A name grammar with the sentence that explains it.
#[derive(Debug, Clone, Copy)]
pub struct NameRule {
    /// Whether a name is acceptable.
    pub accepts: fn(&str) -> bool,
    /// What an acceptable name looks like, to follow "Use".
    pub explanation: &'static str,
}

/// Which managed identities a type may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentitySupport {
    /// None; the envelope's `identity` is ignored.
    None,
    /// System- and user-assigned; without a word about it, none.
    Optional,
    /// System- and user-assigned; without a word about it, system-assigned.
    SystemByDefault,
}

/// Success statuses of PUT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutStatus {
    /// When the resource is new.
    pub created: u16,
    /// When it was there.
    pub replaced: u16,
}

/// What a type wants to see of its surroundings. Each costs a read, so none is shown unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Surroundings {
    /// Child types whose resources are parts of this one on the wire, by their last word: `["outboundRules"]`.
    pub parts: &'static [&'static str],
    /// The resources that link to this one.
    pub referrers: bool,
    /// The resources this one links to, also when answering.
    pub linked: bool,
    /// Its own secrets, when admitting: whether a body that repeats them changes anything.
    pub secrets: bool,
}

/// A POST action.
#[derive(Debug, Clone, Copy)]
pub struct Action {
    /// Name in canonical spelling, `listKeys`.
    pub name: &'static str,
    /// Whether the action answers with, or changes, secrets (its answer is never logged).
    pub secret: bool,
}

/// What serves a resource beyond its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataPlane {
    /// Bastide does what the type promises.
    Served,
    /// Stored only; answers say so with `bastide.dataPlane: "none"`.
    None,
}

/// A space of names that become host names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostNames {
    /// Its name, `vault`.
    pub space: &'static str,
    /// The error code clients know for a name that is taken.
    pub taken: &'static str,
}

impl Descriptor {
    /// A type in resource groups that is stored as it comes, with nothing of its own: others say what they differ in.
    pub const fn stored(
        namespace: &'static str,
        types: &'static [&'static str],
        api_versions: &'static [&'static str],
    ) -> Self {
        Self {
            namespace,
            types,
            placement: Placement::ResourceGroup,
            tracked: false,
            name: NameRule::GENERIC,
            identity: IdentitySupport::None,
            read_only: &[],
            patchable: None,
            put: PutStatus::OK,
            surroundings: Surroundings::NONE,
            actions: &[],
            api_versions,
            data_plane: DataPlane::None,
        }
    }

    /// `Microsoft.X/a/b` in canonical spelling.
    pub fn type_name(&self) -> String {
        format!("{}/{}", self.namespace, self.types.join("/"))
    }

    /// Whether resources of this type live below another resource.
    pub fn is_child(&self) -> bool {
        self.types.len() > 1
    }

    /// The declared action of that name, in any case.
    pub fn action(&self, name: &str) -> Option<&Action> {
        self.actions.iter().find(|action| action.name.eq_ignore_ascii_case(name))
    }
}

impl Surroundings {
    /// Nothing: most types.
    pub const NONE: Self = Self { parts: &[], referrers: false, linked: false, secrets: false };
}

impl PutStatus {
    /// 201 when new, 200 when replaced: most types.
    pub const CREATED: Self = Self { created: 201, replaced: 200 };
    /// Always 200: workspaces, connections, storage accounts.
    pub const OK: Self = Self { created: 200, replaced: 200 };
    /// Always 201: role and policy definitions.
    pub const ALWAYS_CREATED: Self = Self { created: 201, replaced: 201 };
}

impl NameRule {
    /// 1 to 260 characters without `<>%&:\?/` and not ending in a blank or dot: the RPC's rule where a type states none.
    pub const GENERIC: Self = Self {
        accepts: is_generic_name,
        explanation: "1 to 260 characters, none of < > % & : \\ ? / and no trailing dot",
    };
}

fn is_generic_name(name: &str) -> bool {
    (1..=260).contains(&name.chars().count())
        && !name.contains(['<', '>', '%', '&', ':', '\\', '?', '/'])
        && !name.chars().any(char::is_control)
        && !name.ends_with(['.', ' '])
}
