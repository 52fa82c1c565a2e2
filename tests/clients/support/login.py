"""Getting tokens the way the clients do, without the clients."""

from __future__ import annotations

from typing import Any

import requests

from support.secrets import SECRETS
from support.server import Bastide

# azure-cli's own public client.
AZ_CLIENT = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"


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
