//! The errors of the reference's table (arm-models.md 1.3), by status.

use serde_json::Value;

use super::{ArmError, shown};
use crate::id::ResourceId;

// 400: the request itself is wrong.
impl ArmError {
    /// The path cannot be read unambiguously.
    pub fn invalid_request_uri(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidRequestUri", message)
    }

    /// No `api-version` in the query.
    pub fn missing_api_version() -> Self {
        Self::new(
            400,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        )
    }

    /// An `api-version` that is not a date Bastide accepts.
    pub fn invalid_api_version(given: &str) -> Self {
        Self::new(
            400,
            "InvalidApiVersionParameter",
            format!(
                "The api-version '{}' is invalid. Give a date from 2014-01-01 on as YYYY-MM-DD, with '-preview' after it where meant, such as 2024-10-01.",
                shown(given)
            ),
        )
        .with_target("api-version")
    }

    /// The type exists, but not at this location or version.
    pub fn no_registered_provider(
        location: &str,
        api_version: &str,
        type_name: &str,
        api_versions: &[&str],
        locations: &[&str],
    ) -> Self {
        Self::new(
            400,
            "NoRegisteredProviderFound",
            format!(
                "No registered resource provider found for location '{}' and API version '{}' for type '{}'. The supported api-versions are '{}'. The supported locations are '{}'.",
                shown(location),
                shown(api_version),
                shown(type_name),
                api_versions.join(", "),
                locations.join(", ")
            ),
        )
    }

    /// The body is not JSON, or not the JSON that was asked for.
    pub fn invalid_request_content(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidRequestContent", message)
    }

    /// A tracked resource without a location.
    pub fn location_required() -> Self {
        Self::new(
            400,
            "LocationRequired",
            "The location property is required for this definition; add \"location\" to the request body.",
        )
        .with_target("location")
    }

    /// A name outside the grammar of its type; `rule` is a sentence that says what the grammar is.
    pub fn invalid_resource_name(name: &str, type_name: &str, rule: &str) -> Self {
        Self::new(
            400,
            "InvalidResourceName",
            format!("The name '{}' is not valid for a resource of type '{}'. {rule}", shown(name), shown(type_name)),
        )
        .with_target("name")
    }

    /// A resource group name outside its grammar.
    pub fn invalid_resource_group(name: &str) -> Self {
        Self::new(
            400,
            "InvalidResourceGroup",
            format!(
                "The resource group name '{}' is invalid. Use up to 90 letters, digits, '-', '_', '(', ')' and '.', not ending in '.'.",
                shown(name)
            ),
        )
    }

    /// A subscription id that is not a GUID.
    pub fn invalid_subscription_id(given: &str) -> Self {
        Self::new(
            400,
            "InvalidSubscriptionId",
            format!(
                "The provided subscription identifier '{}' is malformed; give a GUID such as 00000000-0000-0000-0000-000000000000.",
                shown(given)
            ),
        )
    }

    /// A text that ought to be a resource id and is not.
    pub fn invalid_resource_id(given: &str, reason: &str) -> Self {
        Self::new(
            400,
            "InvalidResourceId",
            format!(
                "'{}' is not a resource id: {reason} Give the full id, such as /subscriptions/{{subscriptionId}}/resourceGroups/{{group}}/providers/{{namespace}}/{{type}}/{{name}}.",
                shown(given)
            ),
        )
    }

    /// A parameter or property with a wrong value.
    pub fn invalid_parameter(target: &str, message: impl Into<String>) -> Self {
        Self::new(400, "InvalidParameter", message).with_target(target)
    }

    /// A body that breaks a rule of the domain.
    pub fn validation(message: impl Into<String>) -> Self {
        Self::new(400, "ValidationError", message)
    }
}

// 401 and 403: who asks, and whether they may.
impl ArmError {
    /// No bearer token in the request.
    pub fn authentication_failed() -> Self {
        Self::new(
            401,
            "AuthenticationFailed",
            "Authentication failed. The 'Authorization' header is missing or does not hold a bearer token; sign in and send 'Authorization: Bearer <token>'.",
        )
    }

    /// A token that is malformed, forged or meant for someone else.
    pub fn invalid_authentication_token(reason: &str) -> Self {
        Self::new(401, "InvalidAuthenticationToken", format!("The access token is invalid: {reason} Sign in again."))
    }

    /// A token of another tenant.
    pub fn invalid_authentication_token_tenant() -> Self {
        Self::new(
            401,
            "InvalidAuthenticationTokenTenant",
            "The access token is from the wrong tenant. Sign in to the tenant that the subscription belongs to.",
        )
    }

    /// A token whose time is over.
    pub fn expired_authentication_token() -> Self {
        Self::new(401, "ExpiredAuthenticationToken", "The access token has expired. Sign in again or refresh it.")
    }

    /// The principal lacks the action on the scope.
    pub fn authorization_failed(client: &str, object_id: &str, action: &str, scope: &str) -> Self {
        Self::new(
            403,
            "AuthorizationFailed",
            format!(
                "The client '{}' with object id '{}' does not have authorization to perform action '{}' over scope '{}' or the scope is invalid. If access was recently granted, please refresh your credentials.",
                shown(client),
                shown(object_id),
                shown(action),
                scope
            ),
        )
    }

    /// The principal lacks the action on another resource that the body points at.
    pub fn linked_authorization_failed(
        client: &str,
        object_id: &str,
        action: &str,
        scope: &str,
        linked_action: &str,
        linked_scope: &str,
    ) -> Self {
        Self::new(
            403,
            "LinkedAuthorizationFailed",
            format!(
                "The client '{}' with object id '{}' has permission to perform action '{}' on scope '{}'; however, it does not have permission to perform action(s) '{}' on the linked scope(s) '{}' or the linked scope(s) are invalid.",
                shown(client),
                shown(object_id),
                shown(action),
                scope,
                shown(linked_action),
                linked_scope
            ),
        )
    }

    /// A policy refuses the request.
    pub fn request_disallowed_by_policy(name: &str, violation: Value) -> Self {
        Self::new(
            403,
            "RequestDisallowedByPolicy",
            format!(
                "Resource '{}' was disallowed by policy. See additionalInfo for the policy that refused it.",
                shown(name)
            ),
        )
        .with_target(name)
        .with_info("PolicyViolation", violation)
    }
}

// 404 and 405: what is not there. Checked in the order subscription, group, parent, resource.
impl ArmError {
    /// The subscription does not exist, or the caller may not know that it does.
    pub fn subscription_not_found(id: &str) -> Self {
        Self::new(404, "SubscriptionNotFound", format!("The subscription '{}' could not be found.", shown(id)))
    }

    /// The resource group does not exist.
    pub fn resource_group_not_found(name: &str) -> Self {
        Self::new(
            404,
            "ResourceGroupNotFound",
            format!("Resource group '{}' could not be found. Create it first, or check the name.", shown(name)),
        )
    }

    /// The resource, or the group or subscription that the id names, does not exist.
    pub fn resource_not_found(id: &ResourceId) -> Self {
        if id.is_subscription() {
            return Self::subscription_not_found(id.name());
        }
        if id.is_resource_group() {
            return Self::resource_group_not_found(id.name());
        }
        let pairs = id.types().into_iter().zip(id.names());
        let path = pairs.fold(id.namespace().to_owned(), |path, (kind, name)| format!("{path}/{kind}/{name}"));
        let place = id.resource_group().map(|group| format!(" under resource group '{group}'")).unwrap_or_default();
        Self::new(404, "ResourceNotFound", format!("The Resource '{path}'{place} was not found."))
    }

    /// The resource that ought to hold the asked one does not exist.
    pub fn parent_resource_not_found(id: &ResourceId) -> Self {
        let parent = id.parent().map(|parent| parent.to_string()).unwrap_or_default();
        Self::new(
            404,
            "ParentResourceNotFound",
            format!(
                "Failed to perform the operation on '{id}' because its parent '{parent}' does not exist; create it first."
            ),
        )
    }

    /// The namespace is known, the type is not.
    pub fn invalid_resource_type(namespace: &str, types: &str, api_version: &str) -> Self {
        Self::new(
            404,
            "InvalidResourceType",
            format!(
                "The resource type '{}' could not be found in the namespace '{}' for api version '{}'. List what there is with GET /providers/{}.",
                shown(types),
                shown(namespace),
                shown(api_version),
                shown(namespace)
            ),
        )
    }

    /// The namespace is unknown.
    pub fn invalid_resource_namespace(namespace: &str) -> Self {
        Self::new(404, "InvalidResourceNamespace", format!("The resource namespace '{}' is invalid.", shown(namespace)))
    }

    /// The path leads nowhere.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, "NotFound", message)
    }

    /// The path exists, but not for this method.
    pub fn method_not_allowed(method: &str, allowed: &[&str]) -> Self {
        Self::new(
            405,
            "MethodNotAllowed",
            format!("The HTTP method '{}' is not allowed on this path; use {}.", shown(method), allowed.join(", ")),
        )
    }
}

// 409 and 412: the request does not fit the state of things.
impl ArmError {
    /// The resource exists elsewhere; a location never changes.
    pub fn invalid_resource_location(id: &ResourceId, existing: &str, asked: &str) -> Self {
        Self::new(
            409,
            "InvalidResourceLocation",
            format!(
                "The resource '{}' already exists in location '{}' in resource group '{}'. A resource with the same name cannot be created in location '{}'. Please select a new resource name.",
                shown(id.name()),
                shown(existing),
                shown(id.resource_group().unwrap_or_default()),
                shown(asked)
            ),
        )
    }

    /// The request contradicts the state of the resource.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, "Conflict", message)
    }

    /// The group is on its way out.
    pub fn resource_group_being_deleted(name: &str) -> Self {
        Self::new(
            409,
            "ResourceGroupBeingDeleted",
            format!(
                "The resource group '{}' is being deleted; wait until that is done, then create it again.",
                shown(name)
            ),
        )
    }

    /// Someone else's operation on the same resource has not ended.
    pub fn another_operation_in_progress(id: &ResourceId) -> Self {
        Self::new(
            409,
            "AnotherOperationInProgress",
            format!("Another operation on '{id}' is in progress; wait for it to end, then repeat the request."),
        )
    }

    /// A lock forbids the operation.
    pub fn scope_locked(scope: &ResourceId, operation: &str, lock: &str) -> Self {
        Self::new(
            409,
            "ScopeLocked",
            format!(
                "The scope '{scope}' cannot perform {} operation because following scope(s) are locked: '{}'. Please remove the lock and try again.",
                shown(operation),
                shown(lock)
            ),
        )
    }

    /// The provider is not registered for the subscription.
    pub fn missing_subscription_registration(namespace: &str) -> Self {
        Self::new(
            409,
            "MissingSubscriptionRegistration",
            format!(
                "The subscription is not registered to use namespace '{0}'. Register it with `az provider register --namespace {0}`.",
                shown(namespace)
            ),
        )
        .with_target(namespace)
    }

    /// `If-Match` or `If-None-Match` does not hold.
    pub fn precondition_failed(id: &ResourceId) -> Self {
        Self::new(
            412,
            "PreconditionFailed",
            format!(
                "The condition in If-Match or If-None-Match does not hold for '{id}'; read the resource again and use its etag."
            ),
        )
    }
}

// Limits and our own failures.
impl ArmError {
    /// The body is larger than `limit` bytes.
    pub fn content_too_large(limit: usize) -> Self {
        Self::new(
            413,
            "RequestContentTooLarge",
            format!("The request content size exceeds the maximum size of {limit} bytes; send less in one request."),
        )
    }

    /// The body is not declared as JSON.
    pub fn unsupported_media_type(given: &str) -> Self {
        Self::new(
            415,
            "UnsupportedMediaType",
            format!(
                "The content media type '{}' is not supported. Only 'application/json' is supported.",
                shown(given)
            ),
        )
    }

    /// The client took too long to send its request.
    pub fn request_timeout() -> Self {
        Self::new(408, "RequestTimeout", "The request did not arrive in time; send it again.")
    }

    /// Too many requests; the client should wait `seconds`.
    pub fn too_many_requests(seconds: u32) -> Self {
        let mut error =
            Self::new(429, "TooManyRequests", format!("Too many requests; wait {seconds} seconds, then try again."));
        error.retry_after = Some(seconds);
        error
    }

    /// A failure of ours. The cause goes to the log under `request_id`, never to the client.
    pub fn internal(request_id: &str) -> Self {
        Self::new(
            500,
            "InternalServerError",
            format!(
                "Bastide failed to answer this request; its log tells why under request id '{}'.",
                shown(request_id)
            ),
        )
    }

    /// Not able to answer at the moment; the client should wait `seconds`.
    pub fn service_unavailable(message: impl Into<String>, seconds: u32) -> Self {
        let mut error = Self::new(503, "ServiceUnavailable", message);
        error.retry_after = Some(seconds);
        error
    }
}
