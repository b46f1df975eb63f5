"""Who may read the metrics, in every cell; a token that protects nothing does not start."""

from __future__ import annotations

import asyncio

import pytest

from fakes import FakeClock, FakeSource, settings_of
from scraping import PATH, answer, ask, health_of, samples
from tasker_health.access import PERMISSION, BaseCoordinator
from tasker_health.access.principal import Principal
from tasker_health.errors import AuthenticationError, SettingsError
from tasker_health.health import Health

TOKEN = "canary-of-the-token"


class Authenticator:
    """Knows `good` and `permitted`, breaks on `break`."""

    async def authenticate(self, request):
        """Return the user of the token."""
        token = (request.header("authorization") or "").removeprefix("Bearer ")
        if token == "break":
            raise RuntimeError("canary")
        if token not in ("", "good", "permitted"):
            raise AuthenticationError("canary")
        return {"good": Principal("good"), "permitted": Principal("permitted", permissions=[PERMISSION])}.get(token)


class Permissions(BaseCoordinator):
    """Permits who has the permission."""

    def authorized(self, resource, action, context):
        """Return whether the user may."""
        return self.user is not None and self.user.has_tasker_permission(f"{resource}:{action}")


CALLERS = (None, "wrong", "good", "permitted", "break", TOKEN)
# access, authentication, authorization, then the code for each of the callers
CODES = [
    ("inherit", False, False, (200, 401, 200, 200, 500, 401)),
    ("inherit", True, False, (401, 401, 200, 200, 500, 401)),
    ("inherit", True, True, (401, 401, 403, 200, 500, 401)),
    ("inherit", False, True, (403, 401, 403, 200, 500, 401)),
    ("open", True, True, (200, 200, 200, 200, 200, 200)),
    ("token", True, True, (401, 401, 401, 401, 401, 200)),
    ("token", False, False, (401, 401, 401, 401, 401, 200)),
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("access", "authentication", "authorization", "codes"), CODES)
def test_who_may_read_the_metrics(access, authentication, authorization, codes, method):
    """Every access with every caller: as for the status, everybody, or who has the token, fresh and cached."""
    settings = settings_of(
        health={"status_requires_authentication": authentication},
        auth={"authentication_enabled": authentication, "authorization_enabled": authorization},
        exporters={"prometheus": {"access": access, **({"token": TOKEN} if access == "token" else {})}},
    )
    health = Health(settings, authenticator=Authenticator(), coordinator_class=Permissions, clock=FakeClock())
    health.add_source(FakeSource())

    async def scene():
        return [
            await ask(health, method, {"Authorization": f"Bearer {caller}"} if caller else {}, path)
            for _ in ("fresh", "cached")
            for path in (PATH, "/tasker/health/status")
            for caller in CALLERS
        ]

    responses = asyncio.run(scene())
    metrics = [*responses[: len(CALLERS)], *responses[2 * len(CALLERS) : 3 * len(CALLERS)]]
    statuses = responses[len(CALLERS) : 2 * len(CALLERS)]
    assert tuple(response.status_code for response in metrics) == codes * 2
    if access == "inherit":
        assert tuple(response.status_code for response in statuses) == codes
    for response in metrics:
        assert ("www-authenticate" in response.headers) == (response.status_code == 401)
        assert "canary" not in response.text
        if response.status_code != 200:
            assert "tasker_health_status" not in response.text
            assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        ([f"Bearer {TOKEN}"], 200),
        ([f"bearer {TOKEN}"], 200),
        ([f"Bearer  {TOKEN} "], 200),
        ([], 401),
        ([""], 401),
        ([TOKEN], 401),
        ([f"Basic {TOKEN}"], 401),
        (["Bearer"], 401),
        (["Bearer "], 401),
        ([f"Bearer {TOKEN}x"], 401),
        ([f"Bearer {TOKEN[:-1]}"], 401),
        ([f"Bearer {TOKEN.upper()}"], 401),
        (["Bearer \xe9"], 401),
        ([f"Bearer {TOKEN}", "Bearer wrong"], 401),
        (["Bearer wrong", f"Bearer {TOKEN}"], 401),
        ([f"Bearer {TOKEN}", f"Bearer {TOKEN}"], 401),
    ],
)
def test_the_token_is_sent_once_and_whole(authorization, code):
    """The scheme's case is free; two headers are refused, for a proxy may have looked at the other one."""
    health = health_of(access="token", token=TOKEN)
    headers = [(b"authorization", each.encode("latin-1")) for each in authorization]
    response = answer(health, "GET", headers)
    assert response.status_code == code
    told = samples(answer(health, "GET", {"Authorization": f"Bearer {TOKEN}"}))
    assert told["tasker_health_authentication_failures_total",] == (code == 401)


def test_who_guesses_the_token_is_told_of_and_slowed(caplog):
    """It is guarded as the status is: a failure is logged with its address and no secret, further ones wait."""
    settings = settings_of(
        exporters={"prometheus": {"access": "token", "token": TOKEN}}, auth={"failures_per_minute": 1}
    )
    health = Health(settings, clock=FakeClock())

    async def scene():
        began = asyncio.get_running_loop().time()
        for _ in range(2):
            assert (await ask(health, headers={"Authorization": "Bearer canary-of-a-guess"})).status_code == 401
        return asyncio.get_running_loop().time() - began

    assert asyncio.run(scene()) >= 0.1
    assert "authentication failed: GET /tasker/metrics from 127.0.0.1" in caplog.text
    assert "canary" not in caplog.text


def test_refusals_and_faults_of_the_gate_are_counted():
    """401 and 403 apart, of all that the gate guards, and what broke."""
    settings = settings_of(
        health={"status_requires_authentication": True},
        auth={"authentication_enabled": True, "authorization_enabled": True},
        exporters={"prometheus": {"access": "open"}},
    )
    health = Health(settings, authenticator=Authenticator(), coordinator_class=Permissions, clock=FakeClock())

    async def scene():
        for caller in ("wrong", "wrong", "good", "permitted", "break"):
            await ask(health, headers={"Authorization": f"Bearer {caller}"}, path="/tasker/health/status")
        return samples(await ask(health))

    told = asyncio.run(scene())
    assert told["tasker_health_authentication_failures_total",] == 2
    assert told["tasker_health_authorization_failures_total",] == 1
    assert told["tasker_health_access_faults_total",] == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"access": "token"}, ["exporters.prometheus.token", "set it"]),
        ({"token": TOKEN}, ["exporters.prometheus.token", "access to token"]),
        ({"access": "open", "token": TOKEN}, ["exporters.prometheus.token", "access to token"]),
        ({"access": "token", "token": ""}, ["exporters.prometheus.token", "printable"]),
        ({"access": "token", "token": f"{TOKEN} "}, ["exporters.prometheus.token", "printable"]),
        ({"access": "token", "token": f"{TOKEN}\u00e9"}, ["exporters.prometheus.token", "printable"]),
    ],
)
def test_a_token_that_protects_nothing_does_not_start(settings, words):
    """Nor does one that nobody could send; the message names the setting and never the token."""
    with pytest.raises(SettingsError) as raised:
        health_of(**settings)
    assert all(word in str(raised.value) for word in words)
    assert TOKEN not in str(raised.value)


def test_the_token_is_in_no_repr():
    """Settings, exporter and endpoints print without it."""
    health = health_of(access="token", token=TOKEN)
    assert TOKEN not in f"{health.settings!r} {health.settings} {vars(health)!r} {health.endpoints!r}"
