"""The token service: every grant, both route families, and refusals in the shape msal understands."""

import json
import secrets
import time
import uuid

import pytest
import requests
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from support import forge, graph, login
from support.certificates import self_signed
from support.identity import announce
from support.login import AZ_CLIENT, REDIRECT, CodeFlow
from support.wire import Wire

FLAVOURS = ["adfs", "tenant"]
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
# Nobody.
STRANGER = "6f2c9e51-0000-4000-8000-000000000000"


def refusal(answer, status, code, aadsts=None):
    """`{"error","error_description","error_codes"}`, which az turns into its message."""
    document = answer.json()
    assert (answer.status_code, document["error"]) == (status, code), answer.text
    assert len(document["error_description"]) > 20
    if aadsts:
        assert document["error_description"].startswith(f"AADSTS{aadsts}:"), document["error_description"]
        assert aadsts in document["error_codes"]
    assert answer.headers["Cache-Control"] == "no-store"
    return document


# Client credentials -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_secret_buys_a_token(bastide, flavour):
    answer = login.client_credentials(bastide, flavour)
    assert answer.status_code == 200
    document = answer.json()
    assert document["token_type"] == "Bearer"
    assert isinstance(document["expires_in"], int) and 0 < document["expires_in"] <= 86_400
    assert "refresh_token" not in document and "id_token" not in document, "a client is not a person"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"


def test_the_claims_say_who_for_whom_and_how_long(bastide):
    head, claims = forge.read(login.access_token(bastide))
    assert head["alg"] in ("RS256", "ES256") and head["kid"]
    assert claims["tid"] == bastide.bootstrap.tenant_id
    assert claims["iss"].startswith(bastide.endpoint)
    assert claims["aud"].rstrip("/") == bastide.endpoint
    assert uuid.UUID(claims["oid"])
    assert (claims.get("azp") or claims.get("appid")) == bastide.bootstrap.client_id
    assert claims["nbf"] <= claims["iat"] + 60 and claims["iat"] <= time.time() + 60 < claims["exp"]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_claims_challenge_of_msal_is_accepted(bastide, flavour):
    answer = login.client_credentials(
        bastide, flavour, client_info="1", claims='{"access_token":{"xms_cc":{"values":["CP1"]}}}'
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "scope",
    [
        "{endpoint}/.default",
        "{endpoint}//.default",
        "https://management.azure.com/.default",
        "https://management.azure.com//.default",
        "https://ml.azure.com/.default",
    ],
)
def test_the_audiences_of_the_clients_are_known_with_and_without_their_slash(bastide, scope):
    token = login.access_token(bastide, scope=scope.format(endpoint=bastide.endpoint))
    assert Wire(bastide, token).get("/subscriptions").status_code == 200


@pytest.mark.parametrize(
    "scope", ["https://evil.example/.default", ".default", "nonsense", "", "{endpoint}.evil.example/.default"]
)
def test_an_unknown_audience_is_refused(bastide, scope):
    answer = login.client_credentials(bastide, scope=scope.format(endpoint=bastide.endpoint))
    assert answer.status_code == 400
    assert answer.json()["error"] in ("invalid_scope", "invalid_resource", "invalid_request", "invalid_target")


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_wrong_secret_is_refused_as_msal_expects(bastide, flavour):
    secret = f"wrong-{uuid.uuid4()}"
    answer = login.client_credentials(bastide, flavour, client_secret=secret)
    refusal(answer, 401, "invalid_client", 7000215)
    assert secret not in answer.text


def test_an_unknown_client_is_refused(bastide):
    refusal(login.client_credentials(bastide, client_id=str(uuid.uuid4())), 401, "invalid_client", 700016)


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": None},
        {"client_secret": None},
        {"grant_type": None},
        {"client_id": ""},
        {"client_secret": ""},
        {"grant_type": "nonsense"},
        {"client_id": "\u0000"},
    ],
)
def test_a_form_that_lacks_something_is_refused(bastide, changes):
    answer = login.client_credentials(bastide, **changes)
    assert answer.status_code in (400, 401)
    assert answer.json()["error"] in ("invalid_request", "unsupported_grant_type", "invalid_client")


def test_a_field_given_twice_is_refused(bastide):
    """Two readers could choose differently."""
    form = [("grant_type", "client_credentials"), ("client_id", bastide.bootstrap.client_id), ("client_id", "other"),
            ("client_secret", bastide.bootstrap.client_secret), ("scope", f"{bastide.endpoint}/.default")]  # fmt: skip
    assert login.post_form(bastide, login.token_url(bastide), form).status_code == 400


def test_another_tenant_is_refused(bastide):
    url = f"{bastide.endpoint}/6f2c9e51-0000-4000-8000-000000000000/oauth2/v2.0/token"
    form = {"grant_type": "client_credentials", "client_id": bastide.bootstrap.client_id,
            "client_secret": bastide.bootstrap.client_secret, "scope": f"{bastide.endpoint}/.default"}  # fmt: skip
    answer = login.post_form(bastide, url, form)
    assert answer.status_code == 400
    assert answer.json()["error"] in ("invalid_request", "invalid_tenant")


def test_a_token_endpoint_is_no_page(bastide):
    assert requests.get(login.token_url(bastide), verify=bastide.ca_file, timeout=10).status_code == 405
    answer = requests.post(login.token_url(bastide), json={"grant_type": "x"}, verify=bastide.ca_file, timeout=10)
    assert answer.status_code in (400, 415)


def test_a_huge_form_is_refused(bastide):
    answer = requests.post(
        login.token_url(bastide), data={"grant_type": "x" * 5_000_000}, verify=bastide.ca_file, timeout=10
    )
    assert answer.status_code in (400, 413)


# Certificates -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(bastide):
    made = self_signed("wire-client")
    graph.add_certificate(bastide, bastide.bootstrap.client_id, made)
    return made


def assertion(bastide, certificate, flavour="tenant", header=None, **changes):
    """A client assertion as msal writes it; its times are floats."""
    now = time.time()
    head = {"alg": "RS256", "typ": "JWT", "x5t": forge.base64url(certificate.thumbprint), **(header or {})}
    claims = {
        "aud": login.token_url(bastide, flavour),
        "iss": bastide.bootstrap.client_id, "sub": bastide.bootstrap.client_id,
        "jti": str(uuid.uuid4()), "exp": now + 600, "iat": now, **changes,
    }  # fmt: skip
    claims = {name: value for name, value in claims.items() if value is not None}
    text = ".".join(forge.base64url(json.dumps(part).encode()) for part in (head, claims))
    return f"{text}.{forge.base64url(certificate.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def with_assertion(bastide, text, flavour="tenant"):
    return login.client_credentials(
        bastide, flavour, client_secret=None, client_assertion_type=ASSERTION, client_assertion=text
    )


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_certificate_buys_a_token(bastide, certificate, flavour):
    answer = with_assertion(bastide, assertion(bastide, certificate, flavour), flavour)
    assert answer.status_code == 200, answer.text


def test_an_assertion_works_once(bastide, certificate):
    text = assertion(bastide, certificate)
    assert with_assertion(bastide, text).status_code == 200
    refusal(with_assertion(bastide, text), 401, "invalid_client")


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://other.example/token"}, {"aud": None}, {"iss": STRANGER}, {"sub": STRANGER},
        {"exp": 1_700_000_000.5}, {"exp": None}, {"nbf": 4_000_000_000.5}, {"iat": 4_000_000_000.5}, {"jti": None},
        {"exp": "tomorrow"}, {"exp": 1e300},
    ],
    ids=lambda changes: "-".join(f"{name}={value}"[:24] for name, value in changes.items()),
)  # fmt: skip
def test_an_assertion_that_claims_something_else_is_refused(bastide, certificate, changes):
    refusal(with_assertion(bastide, assertion(bastide, certificate, **changes)), 401, "invalid_client")


@pytest.mark.parametrize("header", [{"alg": "none"}, {"alg": "HS256"}, {"x5t": "AAAA"}, {"x5t": None}])
def test_an_assertion_with_another_header_is_refused(bastide, certificate, header):
    refusal(with_assertion(bastide, assertion(bastide, certificate, header=header)), 401, "invalid_client")


def test_the_certificate_of_somebody_else_is_refused(bastide, certificate):
    refusal(with_assertion(bastide, assertion(bastide, self_signed("stranger"))), 401, "invalid_client", 700027)


def test_an_expired_certificate_is_refused(bastide):
    old = self_signed("old", days=1, starts=-10)
    try:
        graph.add_certificate(bastide, bastide.bootstrap.client_id, old)
    except AssertionError:
        return  # not even taken in, which is as good
    refusal(with_assertion(bastide, assertion(bastide, old)), 401, "invalid_client")


# Device codes -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=FLAVOURS)
def device(request, bastide):
    """A device flow just begun."""
    authority = "adfs" if request.param == "adfs" else bastide.bootstrap.tenant_id
    url = f"{bastide.endpoint}/{authority}/oauth2/v2.0/devicecode"
    form = {"client_id": AZ_CLIENT, "scope": f"{bastide.endpoint}/.default offline_access openid profile"}
    answer = login.post_form(bastide, url, form)
    assert answer.status_code == 200, answer.text
    return {**answer.json(), "flavour": request.param}


def poll(bastide, device, **changes):
    form = {"grant_type": DEVICE, "client_id": AZ_CLIENT, "device_code": device["device_code"],
            "code": device["device_code"], "client_info": "1", **changes}  # fmt: skip
    return login.post_form(bastide, login.token_url(bastide, device["flavour"]), form)


def test_a_device_gets_a_code_to_show(bastide, device):
    assert device["verification_uri"].startswith(bastide.endpoint + "/")
    assert len(device["user_code"].replace("-", "")) >= 8
    assert device["user_code"] in device["message"] and device["verification_uri"] in device["message"]
    assert isinstance(device["expires_in"], int) and isinstance(device["interval"], int)


def test_a_device_waits_until_somebody_says_yes(bastide, device):
    refusal(poll(bastide, device), 400, "authorization_pending")


def test_a_device_that_cannot_wait_is_told_to(bastide, device):
    poll(bastide, device)
    assert poll(bastide, device).json()["error"] in ("slow_down", "authorization_pending")


def test_a_device_code_nobody_gave_out_is_refused(bastide, device):
    answer = poll(bastide, {**device, "device_code": secrets.token_urlsafe(40)})
    assert answer.status_code == 400
    assert answer.json()["error"] in ("invalid_grant", "bad_verification_code", "expired_token")


def test_a_device_code_belongs_to_the_client_that_asked(bastide, device):
    answer = poll(bastide, device, client_id=str(uuid.uuid4()))
    assert answer.status_code in (400, 401)
    assert answer.json()["error"] in ("invalid_grant", "invalid_client", "unauthorized_client")


# Authorisation codes ----------------------------------------------------------------------------------------------


def test_the_login_page_is_safe_to_show(bastide):
    page = CodeFlow(bastide).page()
    assert page.status == 200
    policy = page.headers["Content-Security-Policy"]
    form_action = next(part for part in policy.split(";") if part.strip().startswith("form-action"))
    assert "http://localhost:" in form_action, "az's listener is on localhost"
    assert "*" not in form_action.replace("http://localhost:*", "")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "default-src 'none'" in policy
    assert page.headers["Referrer-Policy"] in ("no-referrer", "same-origin")
    assert page.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_person_signs_in_and_the_code_comes_back_as_a_form(bastide, flavour):
    flow = CodeFlow(bastide, flavour)
    back = flow.sign_in().form
    assert (back.method, back.action) == ("post", REDIRECT)
    assert back.fields["state"] == flow.parameters["state"]
    answer = flow.redeem(back.fields["code"])
    assert answer.status_code == 200, answer.text
    document = answer.json()
    _, claims = forge.read(document["id_token"])
    assert claims["nonce"] == flow.parameters["nonce"]
    assert claims["tid"] == bastide.bootstrap.tenant_id
    assert claims["aud"] == AZ_CLIENT
    assert bastide.bootstrap.admin_user in (claims.get("preferred_username"), claims.get("upn"))
    info = json.loads(forge.unbase64(document["client_info"]))
    assert info == {"uid": claims["oid"], "utid": claims["tid"]}
    assert document["refresh_token"] and document["scope"]
    assert Wire(bastide, document["access_token"]).get("/subscriptions").status_code == 200


def test_a_wrong_password_gets_the_page_again_and_says_nothing_of_it(bastide):
    page = CodeFlow(bastide).sign_in(password="wrong-password-entirely")
    assert page.status in (200, 401)
    assert "wrong-password-entirely" not in page.html
    assert any(form.of_type("password") for form in page.forms)


def test_an_unknown_user_and_a_wrong_password_look_the_same(bastide):
    who = bastide.bootstrap
    flow = CodeFlow(bastide)
    unknown = flow.browser.sign_in(flow.page(), "nobody@bastide.localhost", "wrong-password-entirely")
    flow = CodeFlow(bastide)
    known = flow.browser.sign_in(flow.page(), who.admin_user, "wrong-password-entirely")
    assert unknown.status == known.status
    assert unknown.text.replace("nobody@bastide.localhost", "") == known.text.replace(who.admin_user, "")


def test_a_code_works_once_and_a_second_use_ends_what_the_first_began(bastide):
    flow = CodeFlow(bastide)
    code = flow.code()
    first = flow.redeem(code)
    assert first.status_code == 200
    refusal(flow.redeem(code), 400, "invalid_grant")
    form = {"grant_type": "refresh_token", "client_id": AZ_CLIENT, "refresh_token": first.json()["refresh_token"]}
    refusal(login.post_form(bastide, login.token_url(bastide), form), 400, "invalid_grant")


@pytest.mark.parametrize(
    "changes",
    [{"code_verifier": None}, {"code_verifier": "wrong" * 10}, {"redirect_uri": "http://localhost:9999"},
     {"client_id": STRANGER}, {"code": "nonsense"}],
    ids=lambda changes: next(iter(changes)) + str(next(iter(changes.values())))[:6],
)  # fmt: skip
def test_a_code_is_worth_nothing_without_the_rest(bastide, changes):
    flow = CodeFlow(bastide)
    code = flow.code()
    answer = flow.redeem(**{"code": code, **changes})
    assert answer.status_code in (400, 401)
    assert answer.json()["error"] in ("invalid_grant", "invalid_request", "invalid_client", "unauthorized_client")


@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge": None}, {"code_challenge_method": "plain"}, {"code_challenge_method": None},
        {"response_type": "token"}, {"response_type": "id_token"}, {"response_type": None}, {"client_id": None},
        {"client_id": STRANGER}, {"scope": "https://evil.example/.default"},
    ],
    ids=lambda changes: "-".join(f"{name}={value}"[:30] for name, value in changes.items()),
)  # fmt: skip
def test_a_request_that_is_not_for_a_code_with_pkce_gets_no_login_page(bastide, changes):
    page = CodeFlow(bastide, **changes).page()
    assert page.status in (200, 400)
    assert not any(form.of_type("password") for form in page.forms)


@pytest.mark.parametrize(
    "redirect",
    ["https://evil.example/", "http://localhost.evil.example/", "http://localhost@evil.example/", "javascript:alert(1)",
     "http://127.0.0.1.evil.example", "//evil.example", "http://localhost:8400/#x", None],
)  # fmt: skip
def test_a_code_goes_to_nobody_but_the_client(bastide, redirect):
    page = CodeFlow(bastide, redirect_uri=redirect).page()
    assert page.status == 400
    assert not page.forms
    assert "evil.example" not in page.headers.get("Location", "")


def test_what_a_request_says_is_never_markup(bastide):
    page = CodeFlow(bastide, state='"><script>alert(1)</script>', login_hint='"><img src=x onerror=alert(1)>').page()
    assert "<script>alert(1)" not in page.html and "<img src=x" not in page.html


# Refresh tokens ---------------------------------------------------------------------------------------------------


@pytest.fixture
def session(bastide):
    flow = CodeFlow(bastide)
    return flow.redeem(flow.code()).json()


def refresh(bastide, token, **changes):
    form = {"grant_type": "refresh_token", "client_id": AZ_CLIENT, "refresh_token": token, "client_info": "1",
            "scope": f"{bastide.endpoint}/.default offline_access openid profile", **changes}  # fmt: skip
    return login.post_form(bastide, login.token_url(bastide), form)


def test_a_refresh_token_buys_new_tokens_and_is_replaced(bastide, session):
    answer = refresh(bastide, session["refresh_token"])
    assert answer.status_code == 200
    assert answer.json()["refresh_token"] != session["refresh_token"]
    assert Wire(bastide, answer.json()["access_token"]).get("/subscriptions").status_code == 200


def test_two_processes_that_start_together_may_use_one_refresh_token(bastide, session):
    """az processes share a token cache; whoever is second within half a minute is not taken for a thief."""
    assert refresh(bastide, session["refresh_token"]).status_code == 200
    assert refresh(bastide, session["refresh_token"]).status_code == 200


@pytest.mark.slow
def test_a_stolen_refresh_token_ends_the_whole_family(bastide, session):
    """Who uses it second, later, cannot be told from the thief: both lose, and what they hold is worth nothing."""
    second = refresh(bastide, session["refresh_token"]).json()
    time.sleep(31)
    refusal(refresh(bastide, session["refresh_token"]), 400, "invalid_grant")
    refusal(refresh(bastide, second["refresh_token"]), 400, "invalid_grant")


def test_a_refresh_token_belongs_to_its_client(bastide, session):
    answer = refresh(bastide, session["refresh_token"], client_id=bastide.bootstrap.client_id)
    assert answer.status_code in (400, 401)


def test_a_refresh_token_is_no_access_token_and_an_id_token_neither(bastide, session):
    for token in (session["refresh_token"], session["id_token"]):
        answer = Wire(bastide, token).get("/subscriptions")
        assert answer.status_code == 401


def test_an_access_token_is_no_refresh_token(bastide, session):
    refusal(refresh(bastide, session["access_token"]), 400, "invalid_grant")


# Passwords --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_password_grant_is_off(bastide, flavour):
    who = bastide.bootstrap
    form = {"grant_type": "password", "client_id": AZ_CLIENT, "username": who.admin_user,
            "password": who.admin_password, "scope": f"{bastide.endpoint}/.default"}  # fmt: skip
    answer = login.post_form(bastide, login.token_url(bastide, flavour), form)
    assert answer.status_code == 400
    assert answer.json()["error"] in ("unsupported_grant_type", "unauthorized_client")


# Managed identities -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def identity(wire, shared_group, unique):
    return announce(wire, shared_group, unique("machine"))


def managed(bastide, identity, headers, **parameters):
    answer = requests.get(identity.endpoint, params=parameters, headers=headers, verify=bastide.ca_file, timeout=10)
    assert answer.status_code < 500
    return answer


def test_an_identity_header_buys_a_token(bastide, identity):
    headers = {"X-IDENTITY-HEADER": identity.header, "Metadata": "true"}
    document = managed(bastide, identity, headers, resource=bastide.endpoint, **{"api-version": "2019-08-01"}).json()
    assert document["token_type"] == "Bearer"
    assert document["resource"].rstrip("/") == bastide.endpoint
    assert int(document["expires_on"]) > time.time() and int(document["expires_in"]) > 0
    assert document["client_id"]
    assert forge.read(document["access_token"])[1]["tid"] == bastide.bootstrap.tenant_id
    assert Wire(bastide, document["access_token"]).get("/subscriptions").status_code == 200


def test_the_pair_of_machine_learning_computes_works_too(bastide, identity):
    headers = {"secret": identity.header}
    document = managed(bastide, identity, headers, resource=bastide.endpoint, **{"api-version": "2017-09-01"}).json()
    assert int(document["expires_on"]) > time.time()


@pytest.mark.parametrize(
    "headers", [{}, {"X-IDENTITY-HEADER": ""}, {"X-IDENTITY-HEADER": "wrong-header-entirely"}, {"secret": "x"}]
)
def test_without_the_header_there_is_no_token(bastide, identity, headers):
    answer = managed(bastide, identity, headers, resource=bastide.endpoint, **{"api-version": "2019-08-01"})
    assert answer.status_code in (400, 401, 403)
    assert "access_token" not in answer.text


def test_a_request_that_was_forwarded_is_refused(bastide, identity):
    """A server-side request forgery comes through somebody's proxy."""
    headers = {"X-IDENTITY-HEADER": identity.header, "X-Forwarded-For": "10.0.0.1"}
    answer = managed(bastide, identity, headers, resource=bastide.endpoint, **{"api-version": "2019-08-01"})
    assert answer.status_code in (400, 401, 403)


def test_an_unknown_resource_is_refused(bastide, identity):
    headers = {"X-IDENTITY-HEADER": identity.header}
    answer = managed(bastide, identity, headers, resource="https://evil.example", **{"api-version": "2019-08-01"})
    assert answer.status_code == 400


# Guessing ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_guessing_passwords_is_slowed_down(start_bastide):
    """A Bastide of its own: the test locks itself out."""
    own = start_bastide()
    statuses, texts = [], []
    for number in range(30):
        flow = CodeFlow(own)
        page = flow.sign_in(password=f"guess-number-{number}")
        statuses.append(page.status)
        texts.append(page.text.lower())
        if page.status == 429:
            assert int(page.headers["Retry-After"]) > 0
            break
    assert 429 in statuses, "thirty wrong passwords in a row are just accepted"
    page = CodeFlow(own).sign_in()
    assert page.status == 429 and not any("code" in form.fields for form in page.forms), (
        "even the right one has to wait"
    )
