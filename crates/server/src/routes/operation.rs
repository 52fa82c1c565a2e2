//! The operations behind the routes.

use super::MEBIBYTE;
use crate::request::Dialect;

/// The operations behind the routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    ListTenants,
    ListSubscriptions,
    ReadSubscription,
    CreateSubscription,
    ReadSubscriptionAlias,
    ListLocations,
    ListTenantProviders,
    ListProviders,
    ReadProvider,
    RegisterProvider,
    UnregisterProvider,
    ListProviderOperations,
    CheckNameAvailability,
    ListResourceGroups,
    DeleteResourceGroup,
    ListResources,
    ExportResourceGroup,
    ListTagNames,
    PutTagName,
    DeleteTagName,
    PutTagValue,
    DeleteTagValue,
    ReadTags,
    ReplaceTags,
    PatchTags,
    DeleteTags,
    ReadOperationStatus,
    ReadOperationResult,
    ListDeployments,
    ReadDeployment,
    CheckDeployment,
    PutDeployment,
    DeleteDeployment,
    CancelDeployment,
    ValidateDeployment,
    ForetellDeployment,
    ExportDeployment,
    ReadDeploymentStatus,
    ListDeploymentOperations,
    ReadDeploymentOperation,
    ListRoleDefinitions,
    ReadRoleDefinition,
    PutRoleDefinition,
    DeleteRoleDefinition,
    ListRoleAssignments,
    ReadRoleAssignment,
    PutRoleAssignment,
    DeleteRoleAssignment,
    ListDenyAssignments,
    ReadDenyAssignment,
    ListPermissions,
    CheckAccess,
    WhyAccess,
    ListUsers,
    ListAccessRequests,
    ReadAccessRequest,
    PutAccessRequest,
    DeleteAccessRequest,
    ApproveAccessRequest,
    DenyAccessRequest,
    ExplainNetwork,
    ListFlows,
    CountFlows,
    ReplayFlows,
    ReadScriptLog,
    OpenExec,
    OpenTunnel,
    SuggestRules,
    AskForRule,
    ListRuleRequests,
    ApproveRuleRequest,
    DenyRuleRequest,
    ListRevisions,
    DiffRules,
    RollBack,
    ListPresets,
    ApplyPreset,
    ReadCost,
    ReadIsolation,
    LiftIsolation,
    RestoreIsolation,
    ListTagPacks,
    ReadTagPack,
    PutTagPack,
    DeleteTagPack,
    ReadProviderOperations,
    ListLocks,
    ReadLock,
    PutLock,
    DeleteLock,
    ListPolicyDefinitions,
    ReadPolicyDefinition,
    PutPolicyDefinition,
    DeletePolicyDefinition,
    ListPolicyVersions,
    ReadPolicyVersion,
    ListPolicySetDefinitions,
    ReadPolicySetDefinition,
    PutPolicySetDefinition,
    DeletePolicySetDefinition,
    ListPolicySetVersions,
    ReadPolicySetVersion,
    ListPolicyAssignments,
    ReadPolicyAssignment,
    PutPolicyAssignment,
    DeletePolicyAssignment,
    ListPolicyExemptions,
    ReadPolicyExemption,
    PutPolicyExemption,
    DeletePolicyExemption,
    QueryPolicyStates,
    SummarizePolicyStates,
    TriggerPolicyEvaluation,
    ListFeatures,
    ReadFeature,
    ListEventCategories,
    ListEvents,
    ListUsages,
    ListQuotas,
    UpdateQuotas,
    ListVmSizes,
    RestoreResource,
    ListDeleted,
    ReadDeleted,
    PurgeDeleted,
    CreateQueryKey,
    DeleteQueryKey,
    ReadBillingFeatures,
    PutBillingFeatures,
    ReadResource,
    CheckResource,
    PutResource,
    PatchResource,
    DeleteResource,
    ListCollection,
    InvokeAction,
}

impl Operation {
    /// Whether it takes, beside the action of its route, the right to give rights away: to decide what the rules of others
    /// mean, or that there is no wall for a time. It is asked before a body is read.
    pub fn takes_owner(self) -> bool {
        matches!(self, Self::PutTagPack | Self::DeleteTagPack | Self::LiftIsolation)
    }

    /// Bytes its body may have: ARM's bound for all but the published file of service tags, which is larger.
    pub fn body_limit(self) -> usize {
        match self {
            Self::PutTagPack => 32 * MEBIBYTE,
            _ => 4 * MEBIBYTE,
        }
    }

    /// How its body is written: templates are not JSON.
    pub fn dialect(self) -> Dialect {
        match self {
            Self::PutDeployment | Self::ValidateDeployment | Self::ForetellDeployment => Dialect::Relaxed,
            _ => Dialect::Strict,
        }
    }

    /// Whether it answers, to those who may not read the whole of it, with what roles further down let them read: who has
    /// a role on one group sees that group among the subscription's, and the subscription.
    pub fn shows_what_is_below(self) -> bool {
        matches!(self, Self::ReadSubscription | Self::ListResourceGroups | Self::ListResources | Self::ListCollection)
    }
}
