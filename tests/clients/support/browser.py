"""A person at a browser, as far as login pages need one: reads forms, fills them in, presses the button.

Also runs as a program: with `BROWSER="python browser.py %s &"` in its environment az opens it as its browser.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

import requests


@dataclass
class Form:
    """One HTML form: where it goes, and its fields with their types."""

    action: str
    method: str = "get"
    fields: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)

    def of_type(self, kind: str) -> list[str]:
        return [name for name, type_ in self.types.items() if type_ == kind]


class Page(HTMLParser):
    """The forms and the visible text of one page."""

    def __init__(self, answer: requests.Response):
        super().__init__()
        self.url = answer.url
        self.status = answer.status_code
        self.headers = answer.headers
        self.html = answer.text
        self.forms: list[Form] = []
        self.words: list[str] = []
        self.feed(answer.text)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def form(self) -> Form:
        assert len(self.forms) == 1, f"{self.url} has {len(self.forms)} forms: {self.text[:300]}"
        return self.forms[0]

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "form":
            action = urljoin(self.url, attributes.get("action") or self.url)
            self.forms.append(Form(action, (attributes.get("method") or "get").lower()))
        elif tag == "input" and self.forms and attributes.get("name"):
            name, kind = attributes["name"], (attributes.get("type") or "text").lower()
            if kind == "submit":
                self.forms[-1].buttons.append((name, attributes.get("value") or ""))
            else:
                self.forms[-1].fields[name] = attributes.get("value") or ""
                self.forms[-1].types[name] = kind
        elif tag == "button" and self.forms and attributes.get("name"):
            self.forms[-1].buttons.append((attributes["name"], attributes.get("value") or ""))

    def handle_data(self, data):
        self.words.append(data)


class Browser:
    """Keeps cookies, follows redirects on the server, and submits forms."""

    def __init__(self, ca_file: str):
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = ca_file

    def open(self, url: str) -> Page:
        return Page(self.session.get(url, timeout=30))

    def submit(self, page: Page, form: Form, press: str | None = None, **values: str) -> Page:
        """Submits a form with some fields filled in; `press` names the value of the button to use."""
        data = {**form.fields, **values}
        buttons = [(name, value) for name, value in form.buttons if press is None or value == press]
        assert press is None or buttons, f"no button {press!r} among {form.buttons}"
        if buttons:
            data[buttons[0][0]] = buttons[0][1]
        origin = "/".join(page.url.split("/", 3)[:3])
        headers = {"Origin": origin, "Referer": page.url}
        if form.method == "post":
            return Page(self.session.post(form.action, data=data, headers=headers, timeout=30))
        return Page(self.session.get(form.action, params=data, headers=headers, timeout=30))

    def sign_in(self, page: Page, user: str, password: str) -> Page:
        """Fills in the login form, whatever its fields are called: one password and the text field before it."""
        form = next(form for form in page.forms if form.of_type("password"))
        names = form.of_type("text") + form.of_type("email")
        assert names, f"{page.url}: no field for a user name in {form.fields}"
        return self.submit(page, form, **{names[0]: user, form.of_type("password")[0]: password})


def main(url: str) -> None:
    """Signs in at the page az opened, then lets the answer page post the code back to az."""
    browser = Browser(os.environ["REQUESTS_CA_BUNDLE"])
    page = browser.sign_in(browser.open(url), os.environ["BROWSER_USER"], os.environ["BROWSER_PASSWORD"])
    back = page.form
    assert back.method == "post" and back.action.startswith("http://localhost:"), f"unexpected page: {page.text}"
    requests.post(back.action, data=back.fields, timeout=30)


if __name__ == "__main__":
    main(sys.argv[1])
