"""Who is asked, and how."""

import pytest

import canary
from fakes import settings_of
from tasker_health.cli.top.target import target_of
from tasker_health.cli.trust import Trust
from tasker_health.errors import ConfigurationError


def asked(url=None, **settings):
    """Return the address that is asked."""
    return target_of(url, settings_of(**settings), Trust(), None).url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:81", "http://h:81/tasker/health"),
        ("http://h", "http://h:80/tasker/health"),
        ("http://h/x/health/", "http://h:80/x/health"),
        ("https://h/x/health/status", "https://h:443/x/health"),
        ("http://[::1]:81/x/health/ready", "http://[::1]:81/x/health"),
    ],
)
def test_a_url_names_the_endpoints(url, expected):
    """With or without the path, and any of the endpoints does."""
    assert asked(url) == expected


@pytest.mark.parametrize(("host", "reached"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("10.0.0.1", "10.0.0.1")])
def test_without_a_url_the_settings_say_it(host, reached):
    """Who listens on every address is asked on this machine."""
    assert asked(server={"host": host, "port": 81, "prefix": "/p"}) == f"http://{reached}:81/p/health"


@pytest.mark.parametrize(
    "url",
    [
        "h:80",
        "ftp://h/",
        "http://",
        "http://h:99999",
        "http://h:0",
        "http://h/?a",
        "http://h/\x1b[2J",
        "http://h/é",
        "http://[::1",
    ],
)
def test_what_is_no_url_is_said_in_a_line(url):
    """The line names what was given, printable, and what is allowed."""
    with pytest.raises(ConfigurationError, match="allowed are http://") as caught:
        asked(url)
    assert str(caught.value).isprintable()


def test_a_password_in_a_url_is_refused_and_not_repeated():
    """It would stand in the title."""
    secret = canary.secret("url")
    with pytest.raises(ConfigurationError) as caught:
        asked(f"http://user:{secret}@h/")
    assert secret not in str(caught.value)


@pytest.mark.parametrize("url", ["http://h/?token={}", "http://h/x#{}", "http://u:{}@h:port/"])
def test_a_url_that_is_none_is_told_without_its_secrets(url):
    """What stands before an @ or after a ? may be one."""
    secret = canary.secret("url")
    with pytest.raises(ConfigurationError) as caught:
        asked(url.format(secret))
    assert secret not in str(caught.value)


def test_any_port_cannot_be_guessed():
    """The message says where to look."""
    with pytest.raises(ConfigurationError, match=r"server\.port = 0"):
        asked(server={"port": 0})


def test_a_file_without_certificates_is_said(tmp_path):
    """With its option."""
    with pytest.raises(ConfigurationError, match="--ca-file"):
        target_of("https://h/", settings_of(), Trust(ca_file=str(tmp_path / "none.pem")), None)
