"""`az login` for people: a code typed on another screen, a browser on this one, and no passwords in scripts."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import browser as browser_program
from support.browser import Browser

CODE = re.compile(r"open the page (?P<page>https://\S+) and enter the code (?P<code>\S+) to")


@pytest.fixture
def person(bastide):
    return Browser(bastide.ca_file)


class DeviceLogin:
    """`az login --use-device-code` up to the moment it has printed its code."""

    def __init__(self, az):
        self.process = az.start("login", "--use-device-code")
        self.message = ""
        for line in self.process.stderr:
            self.message += line
            match = CODE.search(self.message.replace("\n", " "))
            if match:
                self.page, self.code = match["page"], match["code"].rstrip(".")
                return
        raise AssertionError(f"az printed no code: {self.message}")

    def finish(self):
        stdout, stderr = self.process.communicate(timeout=60)
        return self.process.returncode, stdout, self.message + stderr


def approve(person, bastide, login):
    """What a person does at the verification page: code, name and password, yes."""
    page = person.open(login.page)
    for _ in range(4):
        form = page.forms[0] if page.forms else None
        if form is None:
            return page
        values = {}
        for name in form.of_type("text") + form.of_type("email"):
            values[name] = login.code if "code" in name else bastide.bootstrap.admin_user
        for name in form.of_type("password"):
            values[name] = bastide.bootstrap.admin_password
        page = person.submit(page, form, **values)
    return page


def test_a_device_code_logs_a_person_in(fresh_az, bastide, person):
    az = fresh_az().register_cloud()
    login = DeviceLogin(az)
    assert login.page.startswith(bastide.endpoint + "/")
    approve(person, bastide, login)
    code, stdout, stderr = login.finish()
    assert code == 0, stderr
    account = az.ok("account", "show")
    assert account["id"] == bastide.bootstrap.subscription_id
    assert account["user"] == {"name": bastide.bootstrap.admin_user, "type": "user"}
    assert isinstance(az.ok("group", "list"), list)


def test_a_wrong_password_does_not_approve_a_device(fresh_az, bastide, person):
    az = fresh_az().register_cloud()
    login = DeviceLogin(az)
    page = person.open(login.page)
    for _ in range(3):
        form = page.forms[0] if page.forms else None
        if form is None or page.status in (401, 403):
            break
        values = {name: login.code if "code" in name else "nobody" for name in form.of_type("text")}
        values |= {name: "not the password" for name in form.of_type("password")}
        page = person.submit(page, form, **values)
    with pytest.raises(subprocess.TimeoutExpired):
        login.process.wait(6)
    login.process.kill()
    login.process.communicate()
    assert az.run("account", "show").code == 1


def test_a_browser_logs_a_person_in(fresh_az, bastide):
    """az listens on port 8400, opens the browser, and takes the code only as a posted form."""
    program = Path(browser_program.__file__)
    az = fresh_az(
        BROWSER=f"{sys.executable} {program} %s &",
        BROWSER_USER=bastide.bootstrap.admin_user,
        BROWSER_PASSWORD=bastide.bootstrap.admin_password,
        PYTHONPATH=str(program.parents[1]),
    ).register_cloud()
    accounts = az.ok("login", timeout=60)
    assert [account["id"] for account in accounts] == [bastide.bootstrap.subscription_id]
    assert az.ok("account", "show")["user"]["name"] == bastide.bootstrap.admin_user
    assert isinstance(az.ok("group", "list"), list)


def test_a_password_on_the_command_line_is_refused_by_default(fresh_az, bastide):
    az = fresh_az().register_cloud()
    who = bastide.bootstrap
    result = az.run("login", "-u", who.admin_user, "-p", who.admin_password, "--tenant", who.tenant_id)
    assert result.code == 1, result
    assert who.admin_password not in result.stderr
    assert az.run("account", "show").code == 1
