"""`tasker-health token`: what it prints, for people and for scripts, and that nothing is echoed."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from canary import secret, watch
from tasker_health.access.hashing import PasswordHash, stored_token
from tasker_health.loading import load_settings

PATIENCE_SECONDS = 60
COMMAND = [sys.executable, "-m", "tasker_health", "token"]
PASSWORD = secret("a password of some words")


def run(*arguments, given=None):
    """Return the finished command, with *given* on standard input."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
    with subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment,
        stdin=subprocess.PIPE if given is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        output, errors = process.communicate(given, PATIENCE_SECONDS)
    return process.returncode, output.decode(), errors.decode()


def test_create_prints_the_token_alone_and_its_settings_beside_it(tmp_path):
    """Standard output is for a variable of the shell, standard error is TOML that may be appended to a file."""
    code, output, errors = run("create", "grafana", "--role", "reader", "--role", "chief", "--expires-in-days", "30")
    token = output.removesuffix("\n")
    assert code == 0
    assert re.fullmatch(r"tasker_[A-Za-z0-9_-]{43}", token)
    assert token not in errors
    stored = tomllib.loads(errors)["auth"]["tokens"]["grafana"]
    assert stored["hash"] == stored_token(token)
    assert stored["roles"] == ["reader", "chief"]
    assert timedelta(days=29, hours=23) < stored["expires"] - datetime.now(UTC) <= timedelta(days=30)
    file = tmp_path / "health.toml"
    file.write_text(errors)
    from_file = load_settings(file, environ={})
    lines = re.findall(r"^# (TASKER_\w+)=(\S+)$", errors, re.MULTILINE)
    assert from_file == load_settings(environ=dict(lines))


def test_create_as_json_is_one_object_for_scripts():
    """With the token, the hash and the variables, and nothing on standard error."""
    code, output, errors = run("create", "my_app", "--json", "--expires-in-days", "1", "--role", "reader")
    made = json.loads(output)
    assert (code, errors) == (0, "")
    assert set(made) == {"token", "name", "hash", "roles", "expires", "environment"}
    settings = load_settings(environ=made["environment"])
    token = settings.auth.tokens["my_app"]
    assert token.hash.get_secret_value() == made["hash"] == stored_token(made["token"])
    assert list(token.roles) == made["roles"] == ["reader"]
    assert token.expires == datetime.fromisoformat(made["expires"])


@pytest.mark.parametrize("name", ["my-app", "my__app", "my_"])
def test_a_name_that_no_variable_can_spell_is_told_so(name):
    """It would name another setting; TOML can have it."""
    code, _, errors = run("create", name)
    assert code == 0
    assert "TASKER_" not in errors
    assert "no environment variable" in errors.lower()
    assert name in tomllib.loads(errors)["auth"]["tokens"]
    assert json.loads(run("create", name, "--json")[1])["environment"] is None


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["create"], "'name'"),
        (["create", "Grafana"], "'Grafana'"),
        (["create", "x" * 64], "63"),
        (["create", "a", "--role", "b c"], "'b c'"),
        (["create", "a", "--expires-in-days", "0"], "--expires-in-days"),
        (["create", "a", "--expires-in-days", "3651"], "--expires-in-days"),
        (["create", "a", "--expires-in-days", "soon"], "--expires-in-days"),
        (["create", "a", "b"], "b"),
        (["destroy"], "destroy"),
        (["hash"], "22"),
        (["password"], "15"),
    ],
)
def test_usage_is_2_and_one_line(arguments, word):
    """A name that settings cannot have, a time that is none, nothing to read."""
    code, output, errors = run(*arguments)
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert errors.startswith("tasker-health: ")
    assert word in errors


def test_the_token_that_cannot_be_printed_is_a_failure():
    """A full disk: the token would be lost, so the code is not 0."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, "create", "a"], stdout=full, stderr=subprocess.PIPE, timeout=PATIENCE_SECONDS, check=False
        )
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert b"sha256" not in done.stderr


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_hash_and_password_read_one_line_of_standard_input(end):
    """The end of the line is no part of it; only the hash is printed."""
    token = watch("an-existing-token-of-somebody-else")
    assert run("hash", given=(token + end).encode()) == (0, stored_token(token) + "\n", "")
    code, output, errors = run("password", given=(PASSWORD + end).encode())
    assert (code, errors) == (0, "")
    assert output.startswith("scrypt:16384:8:5:")
    assert PasswordHash.read(SecretStr(output.strip()), "key").matches(PASSWORD)
    assert PASSWORD not in output


@pytest.mark.parametrize(
    ("command", "given", "word"),
    [
        ("hash", b"short", "22"),
        ("hash", b"has a space in it but is long enough", "space"),
        ("hash", "l\u00e4nger als zweiundzwanzig Zeichen".encode(), "ASCII"),
        ("hash", b"two-lines-of-a-token-here\nand another", "space"),
        ("password", b"short", "15"),
        ("password", b"\xff" * 20, "UTF-8"),
        ("password", b"has a control\x00character", "control"),
        ("password", b"two lines of words\nand another", "control"),
        ("password", b"x" * 5000, "4096"),
    ],
)
def test_what_no_caller_could_send_or_anybody_could_guess_is_refused(command, given, word):
    """2 and one line, which does not show it."""
    code, output, errors = run(command, given=given)
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert word in errors
    assert given.decode("latin-1") not in errors


def in_terminal(*arguments, typed):
    """Return the code and all that a terminal showed while each of *typed* was answered to a question."""
    terminal, of_command = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdin=of_command, stdout=of_command, stderr=of_command, start_new_session=True
    )
    os.close(of_command)
    shown = b""
    try:
        for number, line in enumerate(typed, 1):
            while shown.count(b": ") < number:
                shown += os.read(terminal, 4096)
            os.write(terminal, line.encode() + b"\n")
        try:
            while chunk := os.read(terminal, 4096):
                shown += chunk
        except OSError:  # so Linux says that the other end was closed
            pass
        return process.wait(PATIENCE_SECONDS), shown.decode()
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def test_at_a_terminal_a_password_is_asked_for_twice_and_never_shown():
    """What is typed is not echoed; two that differ are refused."""
    code, shown = in_terminal("password", typed=[PASSWORD, PASSWORD])
    assert code == 0, shown
    assert "scrypt:16384:8:5:" in shown
    assert PASSWORD not in shown
    code, shown = in_terminal("password", typed=[PASSWORD, PASSWORD + "x"])
    assert (code, "not the same" in shown, PASSWORD in shown) == (2, True, False)


def test_at_a_terminal_a_token_is_asked_for_once_and_never_shown():
    """As a password, without the repetition."""
    token = watch("another-existing-token-of-somebody")
    code, shown = in_terminal("hash", typed=[token])
    assert code == 0, shown
    assert stored_token(token) in shown
    assert token not in shown
