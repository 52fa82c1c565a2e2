"""azure-ai-ml: connections of every kind the SDK has; what they hold is shown to who asks for it by name alone."""

import secrets

import pytest
import requests
from azure.ai.ml.entities import (
    AadCredentialConfiguration,
    AccessKeyConfiguration,
    AccountKeyConfiguration,
    ApiKeyConfiguration,
    APIKeyConnection,
    AzureAISearchConnection,
    AzureAIServicesConnection,
    AzureBlobStoreConnection,
    AzureContentSafetyConnection,
    AzureOpenAIConnection,
    AzureSpeechServicesConnection,
    ManagedIdentityConfiguration,
    NoneCredentialConfiguration,
    OpenAIConnection,
    PatTokenConfiguration,
    SasTokenConfiguration,
    SerpConnection,
    ServerlessConnection,
    ServicePrincipalConfiguration,
    UsernamePasswordConfiguration,
    WorkspaceConnection,
)
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from support import hub, sdk
from support.secrets import SECRETS
from support.wire import WORKSPACES

CLIENT = "11111111-2222-3333-4444-555555555555"


@pytest.fixture(scope="module")
def parent(wire, shared_group, unique):
    """The hub of the module's connections."""
    return hub.create(wire, f"{shared_group}/{hub.KIND}/{unique('hub')}")["id"]


@pytest.fixture(scope="module")
def project(wire, shared_group, parent, unique):
    path = f"{shared_group}/{hub.KIND}/{unique('project')}"
    return hub.create(wire, path, "Project", hubResourceId=parent)["id"]


@pytest.fixture(scope="module")
def on_hub(exported, bastide, parent):
    return sdk.ml_client(bastide, parent.split("/providers")[0], parent.rsplit("/", 1)[1]).connections


@pytest.fixture(scope="module")
def in_project(exported, bastide, project):
    return sdk.ml_client(bastide, project.split("/providers")[0], project.rsplit("/", 1)[1]).connections


@pytest.fixture
def name(unique):
    return unique("conn")


@pytest.fixture
def key():
    """A secret nobody else has; from now on no answer and no log may hold it."""
    value = f"canary-{secrets.token_hex(12)}"
    SECRETS.add(value)
    return value


@pytest.fixture
def revealed(bastide, owner_token):
    """What `listsecrets` answers, asked for outside of the checks that no answer holds a secret."""

    def revealed(path):
        answer = requests.post(
            f"{bastide.endpoint}{path}/listsecrets", params={"api-version": WORKSPACES},
            headers={"Authorization": f"Bearer {owner_token}"}, verify=bastide.ca_file, timeout=30,
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
        return answer.json()["properties"].get("credentials")

    return revealed


API_KEYS = [
    (AzureOpenAIConnection, {"azure_endpoint": "https://a.example", "api_version": "2024-06-01"}, "AzureOpenAI"),
    (AzureAISearchConnection, {"endpoint": "https://search.example"}, "CognitiveSearch"),
    (AzureContentSafetyConnection, {"endpoint": "https://safety.example"}, "CognitiveService"),
    (AzureSpeechServicesConnection, {"endpoint": "https://speech.example"}, "CognitiveService"),
    (OpenAIConnection, {}, "OpenAI"),
    (SerpConnection, {}, "Serp"),
    (ServerlessConnection, {"endpoint": "https://serverless.example"}, "Serverless"),
    (APIKeyConnection, {"api_base": "https://api.example"}, "ApiKey"),
]


@pytest.mark.parametrize(("make", "fields", "category"), API_KEYS, ids=[make.__name__ for make, _, _ in API_KEYS])
def test_a_key_is_kept_and_told_on_request_alone(on_hub, wire, parent, name, key, make, fields, category):
    made = on_hub.create_or_update(make(name=name, api_key=key, **fields))
    assert type(made) is make
    stored = wire.get(f"{parent}/connections/{name}", WORKSPACES).json()["properties"]
    assert (stored["category"], stored["authType"]) == (category, "ApiKey")
    assert "credentials" not in stored
    read = on_hub.get(name)
    assert type(read) is make
    assert read.api_key is None
    assert on_hub.get(name, populate_secrets=True).api_key == key
    assert [one.api_key for one in on_hub.list(populate_secrets=True) if one.name == name] == [key]


OPENAI = {"azure_endpoint": "https://a.example", "open_ai_resource_id": "/subscriptions/s/resourceGroups/g"}


def test_metadata_comes_back_as_it_was_given(on_hub, name, key):
    metadata = {"team": "red"}
    on_hub.create_or_update(AzureOpenAIConnection(name=name, api_key=key, metadata=metadata, **OPENAI))
    read = on_hub.get(name)
    assert read.azure_endpoint == OPENAI["azure_endpoint"]
    assert read.open_ai_resource_id == OPENAI["open_ai_resource_id"]
    assert read.metadata["team"] == "red"


def test_ai_services_are_reached_with_a_key_or_as_oneself(on_hub, name, key, resource):
    account = resource("services")
    fields = {"endpoint": account["properties"]["endpoint"], "ai_services_resource_id": account["id"]}
    with_key = on_hub.create_or_update(AzureAIServicesConnection(name=name, api_key=key, **fields))
    assert with_key.ai_services_resource_id == account["id"]
    assert on_hub.get(name, populate_secrets=True).api_key == key
    on_hub.create_or_update(AzureAIServicesConnection(name=name, **fields))
    assert isinstance(on_hub.get(name).credentials, AadCredentialConfiguration), "and the key is forgotten"


CREDENTIALS = [
    ("git", "PAT", {"pat": None}, lambda key: PatTokenConfiguration(pat=key)),
    ("git", "None", None, lambda key: NoneCredentialConfiguration()),
    ("python_feed", "UsernamePassword", {"username": "mei", "password": None},
     lambda key: UsernamePasswordConfiguration(username="mei", password=key)),
    ("container_registry", "ManagedIdentity", {"clientId": CLIENT, "resourceId": "/a/registry"},
     lambda key: ManagedIdentityConfiguration(client_id=CLIENT, resource_id="/a/registry")),
    ("s3", "AccessKey", {"accessKeyId": "AKIA", "secretAccessKey": None},
     lambda key: AccessKeyConfiguration(access_key_id="AKIA", secret_access_key=key)),
    ("azure_sql_db", "SAS", {"sas": None}, lambda key: SasTokenConfiguration(sas_token=key)),
    ("azure_sql_db", "ServicePrincipal", {"clientId": CLIENT, "tenantId": CLIENT, "clientSecret": None},
     lambda key: ServicePrincipalConfiguration(client_secret=key, client_id=CLIENT, tenant_id=CLIENT)),
    ("custom", "ApiKey", {"key": None}, lambda key: ApiKeyConfiguration(key=key)),
]  # fmt: skip


@pytest.mark.parametrize("kind", CREDENTIALS, ids=[f"{type}-{auth}" for type, auth, _, _ in CREDENTIALS])
def test_every_kind_of_credentials_is_sealed(on_hub, wire, parent, revealed, name, key, kind):
    type, auth, sealed, credentials = kind
    on_hub.create_or_update(
        WorkspaceConnection(name=name, type=type, target="https://target.example", credentials=credentials(key))
    )
    stored = wire.get(f"{parent}/connections/{name}", WORKSPACES).json()["properties"]
    assert stored["authType"] == auth
    assert stored["target"] == "https://target.example"
    assert "credentials" not in stored
    expected = sealed and {field: key if value is None else value for field, value in sealed.items()}
    assert revealed(f"{parent}/connections/{name}") == expected
    assert on_hub.get(name).type == type


def test_a_storage_key_goes_out_under_an_odd_name(on_hub, revealed, parent, name, key):
    """The SDK sends it as `sas`, and fails on a connection that is answered with its credentials."""
    on_hub.create_or_update(
        AzureBlobStoreConnection(
            name=name, url="https://account.blob.example/models", account_name="account", container_name="models",
            credentials=AccountKeyConfiguration(account_key=key),
        )
    )  # fmt: skip
    assert revealed(f"{parent}/connections/{name}") == {"key": key}
    assert on_hub.get(name).container_name == "models"


def test_an_update_without_a_key_keeps_it(on_hub, wire, parent, name, key):
    on_hub.create_or_update(APIKeyConnection(name=name, api_base="https://old.example", api_key=key))
    body = {"properties": {"category": "ApiKey", "authType": "ApiKey", "target": "https://new.example"}}
    assert wire.put(f"{parent}/connections/{name}", body, WORKSPACES).status_code == 200
    read = on_hub.get(name, populate_secrets=True)
    assert (read.target, read.api_key) == ("https://new.example", key)


def test_what_a_hub_shares_its_projects_see(on_hub, in_project, name, key):
    """mission.md R3, R4."""
    shared, own, quiet = (f"{name}-{word}" for word in ("shared", "own", "quiet"))
    on_hub.create_or_update(OpenAIConnection(name=shared, api_key=key))
    on_hub.create_or_update(OpenAIConnection(name=quiet, api_key=key, is_shared=False))
    in_project.create_or_update(OpenAIConnection(name=own, api_key=key, is_shared=False))

    def names(connections):
        return {one.name for one in connections.list()} & {shared, own, quiet}

    assert names(in_project) == {shared, own}
    assert names(on_hub) == {shared, quiet}
    assert in_project.get(shared, populate_secrets=True).api_key == key
    with pytest.raises(ResourceNotFoundError):
        in_project.get(quiet)
    with pytest.raises(ResourceNotFoundError):
        on_hub.get(own)


def test_connections_are_listed_by_type(on_hub, name, key):
    on_hub.create_or_update(SerpConnection(name=name, api_key=key))
    assert name in [one.name for one in on_hub.list(connection_type="serp")]
    assert name not in [one.name for one in on_hub.list(connection_type="git")]


def test_a_deleted_connection_takes_its_secret_along(on_hub, name, key, wire, parent):
    """mission.md N7."""
    on_hub.create_or_update(OpenAIConnection(name=name, api_key=key))
    on_hub.delete(name)
    with pytest.raises(ResourceNotFoundError):
        on_hub.get(name)
    body = {"properties": {"category": "OpenAI", "authType": "ApiKey"}}
    answer = wire.put(f"{parent}/connections/{name}", body, WORKSPACES)
    assert answer.status_code == 400, "a namesake inherits nothing"


def test_connections_go_with_their_workspace(wire, shared_group, unique, key):
    path = f"{shared_group}/{hub.KIND}/{unique('hub')}"
    body = {"properties": {"category": "OpenAI", "authType": "ApiKey", "credentials": {"key": key}}}
    hub.create(wire, path)
    assert wire.put(f"{path}/connections/kept", body, WORKSPACES).status_code == 200
    wire.delete(path, WORKSPACES, params={"forceToPurge": "true"})
    hub.create(wire, path)
    assert wire.get(f"{path}/connections", WORKSPACES).json()["value"] == []


def test_a_connection_without_its_key_is_refused(on_hub, name):
    with pytest.raises(HttpResponseError, match="credentials.key") as refused:
        on_hub.create_or_update(
            WorkspaceConnection(name=name, type="custom", target="x", credentials=ApiKeyConfiguration(key=None))
        )
    assert refused.value.status_code == 400
