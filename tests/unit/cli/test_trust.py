"""Whom a command takes for the server, and where the server of the settings is asked."""

import ssl

import pytest

from fakes import settings_of
from tasker_health.cli.trust import Trust, own_server
from tasker_health.errors import ConfigurationError


def test_a_file_without_certificates_is_said(tmp_path):
    """With its option; and so is one that is not there."""
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for path in (empty, tmp_path / "none.pem"):
        with pytest.raises(ConfigurationError, match=f"--ca-file {path}"):
            Trust(str(path)).context()


def test_only_insecure_trusts_anybody():
    """Without it a certificate and its name are required."""
    assert Trust().context().verify_mode == ssl.CERT_REQUIRED
    assert Trust().context().check_hostname
    assert Trust(insecure=True).context().verify_mode == ssl.CERT_NONE


@pytest.mark.parametrize(
    ("host", "asked"), [("0.0.0.0", "127.0.0.1"), ("[::]", "::1"), ("0:0:0:0:0:0:0:0", "::1"), ("orders", "orders")]
)
def test_who_listens_on_every_address_is_asked_on_this_machine(host, asked):
    """However that address is written."""
    assert own_server(settings_of(server={"host": host, "port": 81, "prefix": "/p"})) == (False, asked, 81, "/p/health")


def test_any_port_cannot_be_guessed():
    """The message says where to look."""
    with pytest.raises(ConfigurationError, match=r"server\.port = 0"):
        own_server(settings_of(server={"port": 0}))
