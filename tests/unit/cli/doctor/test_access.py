"""The doctor at access: who is let in, who is not although somebody is meant to be, and by which step."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

import canary
from fakes import settings_of
from tasker_health.access import PERMISSION, BaseCoordinator
from tasker_health.access.hashing import new_token, stored_token
from tasker_health.cli.doctor.access import _grant, look
from tasker_health.cli.doctor.findings import Verdict
from tasker_health.cli.doctor.walk import Visit
from tasker_health.errors import AuthenticationError
from tasker_health.loading import Origins

WORD = canary.secret("word")
HASHES = [stored_token(canary.watch(new_token())) for _ in range(2)]
ROLES = {"reader": {"permissions": PERMISSION}, "shop": {"permissions": "orders:read"}, "idle": {}}


class Refuses:
    """Refuses whatever is sent, and whoever sends nothing."""

    async def authenticate(self, _request):
        """Refuse."""
        raise AuthenticationError("no")


class Breaks:
    """Breaks, with words that hold a secret."""

    async def authenticate(self, _request):
        """Break."""
        raise RuntimeError(f"cannot ask http://me:{WORD}@there/")


class Coordinator(BaseCoordinator):
    """One of the application's own."""


def rows(health=None, **auth):
    """Return what is found with such settings, in its order."""
    settings = settings_of(auth=auth, health={"status_requires_authentication": False, **(health or {})})
    return asyncio.run(look(Visit(settings, Origins())))


def permitted(*roles, **more):
    """Return what is to be changed where tokens have *roles*, one each, and permission is needed."""
    tokens = {f"t{number}": {"hash": HASHES[number], "roles": role} for number, role in enumerate(roles)}
    found = rows(
        **{
            "authentication_enabled": True,
            "authenticator_class": "tokens",
            "authorization_enabled": True,
            "authorization_coordinator_class": "roles",
            "roles": ROLES,
            "tokens": tokens,
            **more,
        }
    )
    return [each for each in found if each.verdict in {Verdict.WARNING, Verdict.ERROR}]


def test_whom_the_switches_let_in_is_told():
    """Everybody here, everybody anywhere, those who are known, those who are permitted."""
    (open_,) = [each for each in rows() if each.what == "status"]
    assert (open_.verdict, open_.measured) == ("ok", "for everybody who reaches 127.0.0.1: this machine")
    settings = settings_of(server={"host": "0.0.0.0"})
    assert asyncio.run(look(Visit(settings, Origins())))[0].verdict is Verdict.WARNING
    known = {"authentication_enabled": True, "authenticator_class": "tokens", "tokens": {"t0": {"hash": HASHES[0]}}}
    asked = rows({"status_requires_authentication": True}, **known)
    assert [each.measured for each in asked] == ["for everybody who is known", "401: not let in"]
    unasked = {each.what: each for each in rows(**known)}
    assert "nobody is asked for any" in unasked["authentication"].measured


def test_the_remedy_keeps_what_a_role_has():
    """The variable takes the place of the whole list: without what is there, mending one thing would break another."""
    auth = settings_of(auth={"roles": {"reader": {"permissions": ["orders:index"]}}}).auth
    assert _grant(auth, "reader") == f"TASKER_AUTH__ROLES__READER__PERMISSIONS=orders:index,{PERMISSION}"


def test_a_role_that_grants_nothing_is_told_once():
    """By itself where nobody has it; else with the caller who has. The others are let in."""
    (idle,) = permitted("reader")
    assert (idle.what, idle.verdict, idle.measured) == ("auth.roles.idle", "warning", "permits nothing")
    assert idle.remedy == f"TASKER_AUTH__ROLES__IDLE__PERMISSIONS={PERMISSION}"
    (caller,) = permitted("reader", "idle")
    assert (caller.what, caller.trouble) == ("auth.roles.idle", "authorization errors")
    assert caller.measured == f"lacks {PERMISSION}: auth.tokens.t1 is refused (403)"


def test_that_nobody_can_read_the_status_is_an_error():
    """With how many are refused; also where no role has the permission, or callers have no role."""
    (one,) = permitted("shop")
    assert (one.what, one.verdict) == ("auth.roles.shop", "error")
    assert one.measured.endswith("nobody can read the status: auth.tokens.t0 is refused (403)")
    (two,) = permitted("shop", "idle")
    assert two.measured.endswith("auth.tokens.t0 and 1 more are refused (403)")
    (none,) = permitted("")
    assert (none.what, none.verdict) == ("auth.tokens.t0.roles", "error")
    assert none.remedy == f"give a role in auth.roles that has {PERMISSION}"
    jwt = {"algorithms": "HS256", "key": canary.secret("shared") * 2, "issuer": "i", "audience": "a"}
    tokens = {"authenticator_class": "jwt", "tokens": {}, "jwt": jwt}
    (nobody,) = permitted(**tokens, roles={"shop": ROLES["shop"]})
    assert (nobody.what, nobody.verdict) == ("auth.roles", "error")


def test_permission_without_anybody_who_can_be_known_is_one_error():
    """Its consequences for roles are not told beside it."""
    found = permitted(authentication_enabled=False, authenticator_class=(), tokens={}, roles={})
    assert [(each.what, each.verdict) for each in found] == [("auth.authorization_enabled", "error")]


def test_code_of_the_application_is_a_note():
    """What it permits is not guessed."""
    found = rows(
        authentication_enabled=True,
        authenticator_class="tokens",
        tokens={"t0": {"hash": HASHES[0]}},
        authorization_enabled=True,
        authorization_coordinator_class=f"{__name__}:Coordinator",
    )
    assert ("Coordinator", Verdict.NOTE) in {(each.what, each.verdict) for each in found}
    assert not [each for each in found if each.verdict is Verdict.ERROR]


def test_an_authenticator_that_breaks_is_named_once_and_without_its_secret():
    """It is no fault of the keys of JSON web tokens, which are asked for after it."""
    jwt = {"algorithms": "HS256", "key": canary.secret("shared") * 2, "issuer": "i", "audience": "a"}
    asked = {"health": {"status_requires_authentication": True}, "authentication_enabled": True, "jwt": jwt}
    found = rows(**asked, authenticator_class=f"{__name__}:Breaks,jwt")
    assert [each.what for each in found if each.verdict is Verdict.ERROR] == ["access, Breaks"]
    assert WORD not in str(found)
    (keys,) = [each for each in found if each.what == "auth.jwt"]
    assert keys.verdict is Verdict.UNKNOWN
    (keys,) = [each for each in rows(**asked, authenticator_class=f"{__name__}:Refuses,jwt") if each.what == "auth.jwt"]
    assert (keys.verdict, keys.measured) == ("unknown", "not come to: another authenticator judged the token first")
    (keys,) = [each for each in rows(**asked, authenticator_class="jwt") if each.what == "auth.jwt"]
    assert keys.verdict is Verdict.OK


@pytest.mark.parametrize(("days", "verdict"), [(-1, "warning"), (3, "note"), (30, None)])
def test_a_token_that_ends_is_told_a_week_before(days, verdict):
    """With the command that makes another."""
    ends = f"{dt.datetime.now(dt.UTC) + dt.timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"
    token = {"hash": HASHES[0], "expires": ends}
    found = rows(authentication_enabled=True, authenticator_class="tokens", tokens={"grafana": token})
    told = [each for each in found if each.what == "auth.tokens.grafana"]
    assert [each.verdict for each in told] == ([verdict] if verdict else [])
    assert all(each.remedy.startswith("tasker-health token create grafana") for each in told)
