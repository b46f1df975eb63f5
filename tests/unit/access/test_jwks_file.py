"""Keys in a file: read again when it is another one, kept when it is broken."""

from __future__ import annotations

import asyncio
import logging
import os

import pytest

from issuer import asking, document, jwk, token
from server import wait_until
from tasker_health.access import jwks_file
from tasker_health.access.jwks_file import MOST_BYTES, JwksFile, keys_of_file
from tasker_health.access.jwt import JwtAuthenticator
from tasker_health.errors import AuthenticationError, SettingsError
from tasker_health.settings.access import AuthSettings, JwtSettings

OLD, NEW = jwk("RS256", "old"), jwk("RS256", "new", 1)


@pytest.fixture
def folder(tmp_path):
    """A volume as a kubelet projects it: the file is a link through a link to a folder of its own version."""
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "jwks.json").write_bytes(document(OLD))
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "jwks.json").symlink_to("..data/jwks.json")
    return tmp_path


def swap(folder, version, raw):
    """Change the file as a kubelet does it: another folder, and the link renamed over the old one."""
    (folder / version).mkdir()
    (folder / version / "jwks.json").write_bytes(raw)
    os.utime(folder / version / "jwks.json", ns=(1, 1))
    (folder / "..new").symlink_to(version)
    (folder / "..new").rename(folder / "..data")


@pytest.mark.parametrize("how", ["link", "written over", "renamed"])
def test_a_changed_file_is_read_again_and_the_same_is_not(how, folder):
    """Whatever way it was changed in."""
    path = folder / "jwks.json"
    file = JwksFile(str(path), ["RS256"])
    first = file.read()
    assert file.read() is first
    if how == "link":
        swap(folder, "v2", document(NEW))
    elif how == "written over":
        path.write_bytes(document(NEW) + b" ")
    else:
        (folder / "other").write_bytes(document(NEW))
        (folder / "other").rename(path)
    assert file.read().knows("new")
    assert not file.read().knows("old")


def test_a_file_that_is_too_long_is_not_read(folder):
    """A bounded length, whatever stands behind the name."""
    (folder / "long").write_bytes(document(OLD) + b" " * MOST_BYTES)
    with pytest.raises(ValueError, match="longer"):
        JwksFile(str(folder / "long"), ["RS256"]).read()


@pytest.mark.parametrize("raw", [b"<html>", document(), document(jwk("ES256", "other kind"))])
def test_a_file_without_keys_does_not_start(raw, folder):
    """It is configuration, so it is said at start."""
    (folder / "bad").write_bytes(raw)
    with pytest.raises(SettingsError, match=r"auth\.jwt\.jwks_file"):
        keys_of_file(JwtSettings(jwks_file=str(folder / "bad")), 2)


def test_a_running_authenticator_takes_the_new_keys_and_survives_a_broken_file(folder, monkeypatch, caplog):
    """New keys pass and old ones are refused, those too that were remembered; a broken file is logged once."""
    monkeypatch.setattr(jwks_file, "_LOOK_SECONDS", 0.01)
    group = {"jwt": {"jwks_file": str(folder / "jwks.json")}}
    authenticator = JwtAuthenticator.from_settings(AuthSettings.model_validate(group))
    old, new = token(kid="old"), token(kid="new", number=1)
    with asyncio.Runner() as runner:

        def passes(value):
            try:
                return runner.run(authenticator.authenticate(asking(value))).name == "ops"
            except AuthenticationError:
                return False

        assert passes(old)
        assert not passes(new)
        swap(folder, "v2", document(NEW))
        wait_until(lambda: not passes(old), "the old key is refused")
        assert passes(new)
        with caplog.at_level(logging.WARNING):
            swap(folder, "v3", b"<html>")
            wait_until(lambda: passes(new) and caplog.records, "the broken file was seen")
            for _ in range(20):
                runner.run(asyncio.sleep(0.02))
                assert passes(new)
            (folder / "..data").unlink()
            wait_until(lambda: passes(new) and len(caplog.records) > 1, "its absence was seen")
        assert len(caplog.records) == 2
        assert "FileNotFoundError" in caplog.records[1].getMessage()
        (folder / "..data").symlink_to("v1")
        wait_until(lambda: passes(old), "the file is back")
        assert not passes(new)
