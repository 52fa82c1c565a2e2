//! What each route leads to.

use super::Front;
use crate::activity_log;
use crate::failure::Failure;
use crate::pass::Pass;
use crate::reply::Reply;
use crate::request::Request;
use crate::routes::Operation;

impl Front {
    /// What each route leads to.
    #[expect(clippy::too_many_lines, reason = "a line for each operation, and nothing else")]
    pub(super) async fn operate(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        match request.matched.route.operation {
            Operation::ListTenants => Ok(self.list_tenants()),
            Operation::ListSubscriptions => self.list_subscriptions(request, pass).await,
            Operation::ReadSubscription => self.read_subscription(request, pass).await,
            Operation::CreateSubscription => self.create_subscription(request, pass).await,
            Operation::ReadSubscriptionAlias => self.read_subscription_alias(request, pass).await,
            Operation::ListLocations => Ok(self.list_locations(request)),
            Operation::ListTenantProviders => self.list_tenant_providers(request, pass).await,
            Operation::ListProviders => self.list_providers(request, pass).await,
            Operation::ReadProvider => self.read_provider(request, pass).await,
            Operation::RegisterProvider => self.set_registration(request, pass, true).await,
            Operation::UnregisterProvider => self.set_registration(request, pass, false).await,
            Operation::ListProviderOperations => self.list_provider_operations(request),
            Operation::CheckNameAvailability => self.check_name_availability(request).await,
            Operation::ListResourceGroups => self.list_resource_groups(request, pass).await,
            Operation::DeleteResourceGroup => self.delete_resource_group(request, pass).await,
            Operation::ListResources => self.list_resources(request, pass).await,
            Operation::ExportResourceGroup => self.export_group(request, pass).await,
            Operation::ListTagNames => self.list_tag_names(request, pass).await,
            Operation::PutTagName => self.put_tag_name(request, pass).await,
            Operation::DeleteTagName => self.delete_tag_name(request, pass).await,
            Operation::PutTagValue => self.put_tag_value(request, pass).await,
            Operation::DeleteTagValue => self.delete_tag_value(request, pass).await,
            Operation::ReadTags => self.read_tags(request, pass).await,
            Operation::ReplaceTags | Operation::PatchTags | Operation::DeleteTags => {
                self.change_tags(request, pass).await
            }
            Operation::ReadOperationStatus => self.read_operation_status(request, pass).await,
            Operation::ReadOperationResult => self.read_operation_result(request, pass).await,
            Operation::ListDeployments => self.list_deployments(request, pass).await,
            Operation::ReadDeployment => self.read_deployment(request, pass).await,
            Operation::CheckDeployment => self.check_deployment(request, pass).await,
            Operation::PutDeployment => self.put_deployment(request, pass).await,
            Operation::DeleteDeployment => self.delete_deployment(request, pass).await,
            Operation::CancelDeployment => self.cancel_deployment(request, pass).await,
            Operation::ValidateDeployment => self.validate_deployment(request, pass).await,
            Operation::ForetellDeployment => self.foretell_deployment(request, pass).await,
            Operation::ExportDeployment => self.export_deployment(request, pass).await,
            Operation::ReadDeploymentStatus => self.read_deployment_status(request, pass).await,
            Operation::ListDeploymentOperations => self.list_deployment_operations(request, pass).await,
            Operation::ReadDeploymentOperation => self.read_deployment_operation(request, pass).await,
            Operation::ListRoleDefinitions => self.list_role_definitions(request, pass).await,
            Operation::ReadRoleDefinition => self.read_role_definition(request, pass).await,
            Operation::PutRoleDefinition => self.put_role_definition(request, pass).await,
            Operation::DeleteRoleDefinition => self.delete_role_definition(request, pass).await,
            Operation::ListRoleAssignments => self.list_role_assignments(request, pass).await,
            Operation::ReadRoleAssignment => self.read_role_assignment(request, pass).await,
            Operation::PutRoleAssignment => self.put_role_assignment(request, pass).await,
            Operation::DeleteRoleAssignment => self.delete_role_assignment(request, pass).await,
            Operation::ListDenyAssignments => self.list_deny_assignments(request, pass).await,
            Operation::ReadDenyAssignment => self.read_deny_assignment(request, pass).await,
            Operation::ListPermissions => self.list_permissions(request, pass).await,
            Operation::CheckAccess => self.check_access(request, pass).await,
            Operation::WhyAccess => self.why_access(request, pass).await,
            Operation::ExplainNetwork => self.explain_network(request, pass).await,
            Operation::ListFlows => self.list_flows(request, pass).await,
            Operation::CountFlows => self.count_flows(request, pass).await,
            Operation::ReplayFlows => self.replay_flows(request, pass).await,
            Operation::ReadScriptLog => self.read_script_log(request, pass).await,
            Operation::OpenExec => self.open_exec(request, pass).await,
            Operation::OpenTunnel => self.open_tunnel(request, pass).await,
            Operation::SuggestRules => self.suggest_rules(request, pass).await,
            Operation::AskForRule => self.ask_for_rule(request, pass).await,
            Operation::ListRuleRequests => self.list_rule_requests(request, pass).await,
            Operation::ApproveRuleRequest => self.decide_rule_request(request, pass, true).await,
            Operation::DenyRuleRequest => self.decide_rule_request(request, pass, false).await,
            Operation::ListRevisions => self.list_revisions(request, pass).await,
            Operation::DiffRules => self.diff_rules(request, pass).await,
            Operation::RollBack => self.roll_back(request, pass).await,
            Operation::ListPresets => self.list_presets(request, pass).await,
            Operation::ApplyPreset => self.apply_preset(request, pass).await,
            Operation::ReadIsolation => self.read_isolation(request, pass).await,
            Operation::LiftIsolation => self.lift_isolation(request, pass).await,
            Operation::RestoreIsolation => self.restore_isolation(request, pass).await,
            Operation::ReadCost => self.read_cost(request, pass).await,
            Operation::ListTagPacks => self.list_tag_packs(request, pass).await,
            Operation::ReadTagPack => self.read_tag_pack(request, pass).await,
            Operation::PutTagPack => self.put_tag_pack(request, pass).await,
            Operation::DeleteTagPack => self.delete_tag_pack(request, pass).await,
            Operation::ListUsers => self.list_users(request, pass).await,
            Operation::ListAccessRequests => self.list_access_requests(request, pass).await,
            Operation::ReadAccessRequest => self.read_access_request(request, pass).await,
            Operation::PutAccessRequest => self.put_access_request(request, pass).await,
            Operation::DeleteAccessRequest => self.delete_access_request(request, pass).await,
            Operation::ApproveAccessRequest => self.decide_access_request(request, pass, true).await,
            Operation::DenyAccessRequest => self.decide_access_request(request, pass, false).await,
            Operation::ReadProviderOperations => self.read_provider_operations(request),
            Operation::ListFeatures => self.list_features(request),
            Operation::ReadFeature => self.read_feature(request),
            Operation::ListEventCategories => Ok(activity_log::list_categories(request)),
            Operation::ListEvents => self.list_events(request, pass).await,
            Operation::ListPolicyDefinitions | Operation::ListPolicySetDefinitions => {
                self.list_policy_definitions(request, pass).await
            }
            Operation::ReadPolicyDefinition | Operation::ReadPolicySetDefinition => {
                self.read_policy_definition(request, pass).await
            }
            Operation::PutPolicyDefinition | Operation::PutPolicySetDefinition => {
                self.put_policy_definition(request, pass).await
            }
            Operation::DeletePolicyDefinition | Operation::DeletePolicySetDefinition => {
                self.delete_policy_definition(request, pass).await
            }
            Operation::ListPolicyVersions | Operation::ListPolicySetVersions => {
                self.list_policy_versions(request, pass).await
            }
            Operation::ReadPolicyVersion | Operation::ReadPolicySetVersion => {
                self.read_policy_version(request, pass).await
            }
            Operation::ListPolicyAssignments => self.list_policy_assignments(request, pass).await,
            Operation::ReadPolicyAssignment => self.read_policy_assignment(request, pass).await,
            Operation::PutPolicyAssignment => self.put_policy_assignment(request, pass).await,
            Operation::DeletePolicyAssignment => self.delete_policy_assignment(request, pass).await,
            Operation::ListPolicyExemptions => self.list_policy_exemptions(request, pass).await,
            Operation::ReadPolicyExemption => self.read_policy_exemption(request, pass).await,
            Operation::PutPolicyExemption => self.put_policy_exemption(request, pass).await,
            Operation::DeletePolicyExemption => self.delete_policy_exemption(request, pass).await,
            Operation::QueryPolicyStates => self.query_policy_states(request, pass).await,
            Operation::SummarizePolicyStates => self.summarize_policy_states(request, pass).await,
            Operation::TriggerPolicyEvaluation => Ok(self.trigger_policy_evaluation()),
            Operation::ListLocks => self.list_locks(request, pass).await,
            Operation::ReadLock => self.read_lock(request, pass).await,
            Operation::PutLock => self.put_lock(request, pass).await,
            Operation::DeleteLock => self.delete_lock(request, pass).await,
            Operation::ListUsages => self.list_usages(request, pass).await,
            Operation::ListQuotas => self.list_quotas(request, pass).await,
            Operation::UpdateQuotas => self.update_quotas(request, pass).await,
            Operation::ListVmSizes => self.list_vm_sizes(request),
            Operation::RestoreResource => self.restore_resource(request, pass).await,
            Operation::ListDeleted => self.list_deleted(request, pass).await,
            Operation::ReadDeleted => self.read_deleted(request, pass).await,
            Operation::PurgeDeleted => self.purge_deleted(request, pass).await,
            Operation::CreateQueryKey => self.create_query_key(request, pass).await,
            Operation::DeleteQueryKey => self.delete_query_key(request, pass).await,
            Operation::ReadBillingFeatures => self.read_billing_features(request, pass).await,
            Operation::PutBillingFeatures => self.put_billing_features(request, pass).await,
            Operation::ReadResource => self.read_resource(request, pass).await,
            Operation::CheckResource => self.check_resource(request, pass).await,
            Operation::PutResource => self.put_resource(request, pass).await,
            Operation::PatchResource => self.patch_resource(request, pass).await,
            Operation::DeleteResource => self.delete_resource(request, pass).await,
            Operation::ListCollection => self.list_collection(request, pass).await,
            Operation::InvokeAction => self.invoke_action(request, pass).await,
        }
    }
}
