"""Who a command says that it is: the same for `top`, `load-test` and `doctor access`."""

import base64
import io

import pytest

import canary
from tasker_health.cli.credentials import authorization_of, headers_of
from tasker_health.errors import ConfigurationError


def test_a_token_is_read_from_standard_input(monkeypatch):
    """The first line of it, for `-`."""
    secret = canary.secret("token")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{secret}\nmore\n"))
    assert authorization_of("-", None) == f"Bearer {secret}"


def test_at_a_terminal_a_token_is_typed_without_an_echo(monkeypatch):
    """Whoever looks on does not read it."""
    secret = canary.secret("token")
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", terminal)
    monkeypatch.setattr("getpass.getpass", lambda _prompt: secret)
    assert headers_of("-", None, []) == [("Authorization", f"Bearer {secret}")]


@pytest.mark.parametrize("stdin", [None, io.StringIO("")])
def test_nothing_to_read_is_said(monkeypatch, stdin):
    """An empty token would be refused as a wrong one, and nobody would know why."""
    monkeypatch.setattr("sys.stdin", stdin)
    with pytest.raises(ConfigurationError, match="--token"):
        authorization_of("-", None)


def test_a_user_is_sent_as_basic():
    """With a password that has a colon, too."""
    assert authorization_of(None, "ann:a:b") == f"Basic {base64.b64encode(b'ann:a:b').decode()}"


def test_other_headers_are_sent_too():
    """In the order in which they are given, and one name as often as it is given."""
    expected = [("Authorization", "Bearer t"), ("X-Key", "k"), ("x-key", "l")]
    assert headers_of("t", None, ["X-Key: k", "x-key:l"]) == expected


@pytest.mark.parametrize(
    ("token", "basic"),
    [("a", "b:c"), ("", None), ("a b", None), ("é", None), ("a\r\nX: y", None), (None, "ann"), ("x" * 5000, None)],
)
def test_what_cannot_be_sent_is_said(token, basic):
    """In one line, without what was given; of two that exclude one another, none is chosen."""
    with pytest.raises(ConfigurationError, match=r"--(token|basic)") as caught:
        headers_of(token, basic, [])
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("header", ["x", ": y", "x y: z", "x: a\r\nb: c", "x: ä"])
def test_a_header_that_cannot_be_sent_is_refused_without_its_value(header):
    """It may be a secret."""
    with pytest.raises(ConfigurationError, match="--header") as caught:
        headers_of(None, None, [header])
    assert str(caught.value).isprintable()
    assert "ä" not in str(caught.value)
