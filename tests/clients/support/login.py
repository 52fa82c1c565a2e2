"""Getting tokens the way the clients do, without the clients."""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Any

import requests

from support.browser import Browser, Page
from support.secrets import SECRETS
from support.server import Bastide

# azure-cli's own public client.
AZ_CLIENT = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
# Where az listens for the code on the adfs flavour; the tests read the page instead of listening.
REDIRECT = "http://localhost:8400"


def token_url(server: Bastide, flavour: str = "tenant") -> str:
    """The token endpoint of one of the two route families."""
    authority = "adfs" if flavour == "adfs" else server.bootstrap.tenant_id
    return f"{server.endpoint}/{authority}/oauth2/v2.0/token"


def post_form(server: Bastide, url: str, form: dict[str, Any], **options: Any) -> requests.Response:
    """Posts a form to the token service; whatever it hands out is remembered as a secret."""
    answer = requests.post(url, data=form, verify=server.ca_file, timeout=30, **options)
    assert answer.status_code < 500, f"POST {url}: {answer.status_code} {answer.text[:500]}"
    if answer.status_code == 200:
        for field in ("access_token", "refresh_token", "id_token", "device_code"):
            if field in answer.json():
                SECRETS.add_jwt(answer.json()[field])
    else:
        leaked = SECRETS.found_in(answer.text)
        assert not leaked, f"POST {url}: the refusal repeats a secret: {leaked}"
    return answer


def client_credentials(server: Bastide, flavour: str = "tenant", **changes: Any) -> requests.Response:
    """Asks for a token as the bootstrap client; `changes` replace or (as None) remove form fields."""
    form = {
        "grant_type": "client_credentials",
        "client_id": server.bootstrap.client_id,
        "client_secret": server.bootstrap.client_secret,
        "scope": f"{server.endpoint}/.default",
    }
    form.update(changes)
    return post_form(server, token_url(server, flavour), {k: v for k, v in form.items() if v is not None})


def access_token(server: Bastide, **changes: Any) -> str:
    answer = client_credentials(server, **changes)
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"]


def admin_token(server: Bastide) -> str:
    """An access token of the admin user, Owner of the tenant, by signing in at the login page."""
    flow = CodeFlow(server)
    return flow.redeem(flow.code()).json()["access_token"]


class CodeFlow:
    """One authorisation request of a public client with PKCE."""

    def __init__(self, bastide: Bastide, flavour: str = "tenant", **changes: Any):
        self.bastide, self.flavour = bastide, flavour
        self.verifier = secrets.token_urlsafe(48)
        SECRETS.add(self.verifier)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        authority = "adfs" if flavour == "adfs" else bastide.bootstrap.tenant_id
        self.url = f"{bastide.endpoint}/{authority}/oauth2/v2.0/authorize"
        self.parameters = {
            "client_id": AZ_CLIENT, "response_type": "code", "response_mode": "form_post", "redirect_uri": REDIRECT,
            "scope": f"{bastide.endpoint}/.default offline_access openid profile", "state": secrets.token_urlsafe(16),
            "nonce": secrets.token_urlsafe(16), "code_challenge": challenge, "code_challenge_method": "S256",
            "prompt": "select_account", "client_info": "1", **changes,
        }  # fmt: skip
        self.parameters = {name: value for name, value in self.parameters.items() if value is not None}
        self.browser = Browser(bastide.ca_file)

    def page(self) -> Page:
        return self.browser.open(requests.Request("GET", self.url, params=self.parameters).prepare().url)

    def sign_in(self, password: str | None = None) -> Page:
        """Fills in the login page as the admin user; the answer is the page that posts the code back."""
        who = self.bastide.bootstrap
        SECRETS.add(password)
        return self.browser.sign_in(self.page(), who.admin_user, password or who.admin_password)

    def code(self) -> str:
        code = self.sign_in().form.fields["code"]
        SECRETS.add(code)
        return code

    def redeem(self, code: str, **changes: Any) -> requests.Response:
        """Exchanges the code for tokens; `changes` replace or (as None) remove form fields."""
        form = {"grant_type": "authorization_code", "client_id": AZ_CLIENT, "code": code, "client_info": "1",
                "redirect_uri": REDIRECT, "code_verifier": self.verifier, **changes}  # fmt: skip
        form = {name: value for name, value in form.items() if value is not None}
        return post_form(self.bastide, token_url(self.bastide, self.flavour), form)
