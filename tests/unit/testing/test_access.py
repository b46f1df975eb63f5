"""Who asks is what the test says, in every row of the table of access."""

from __future__ import annotations

import pytest

from tasker_health import Health
from tasker_health.testing import (
    FakeAuthenticator,
    FakeCoordinator,
    HealthClient,
    admin_user,
    settings_of,
    user_with_permission,
)

STATUS, PERMISSION = "/tasker/health/status", "tasker.health_status:index"
NOBODY, KNOWN, PERMITTED, ADMIN = None, user_with_permission(), user_with_permission(PERMISSION), admin_user()


def client_of(authenticator, *, authentication=True, authorization=True):
    """Return a client of a health whose status is behind the two switches."""
    settings = settings_of(
        auth={"authentication_enabled": authentication, "authorization_enabled": authorization},
        health={"status_requires_authentication": authentication},
    )
    return HealthClient(Health(settings, authenticator=authenticator, coordinator_class=FakeCoordinator))


@pytest.mark.parametrize(
    ("authentication", "authorization", "codes"),
    [
        (False, False, [200, 200, 200, 200]),
        (True, False, [401, 200, 200, 200]),
        (True, True, [401, 403, 200, 200]),
        (False, True, [403, 403, 200, 200]),
    ],
)
def test_the_table_of_access_with_the_fakes(authentication, authorization, codes):
    """Nobody, somebody known, somebody permitted and an admin, under each switch."""
    authenticator = FakeAuthenticator()
    with client_of(authenticator, authentication=authentication, authorization=authorization) as client:
        found = []
        for authenticator.user in (NOBODY, KNOWN, PERMITTED, ADMIN):
            found.append(client.get(STATUS).status_code)
    assert found == codes


def test_a_header_says_who_asks():
    """Each value is somebody; another one is refused, none is the default user."""
    authenticator = FakeAuthenticator(users={"Bearer alice": PERMITTED, "Bearer bob": KNOWN})
    with client_of(authenticator) as client:

        def code(value=None):
            return client.get(STATUS, None if value is None else {"Authorization": value}).status_code

        assert [code("Bearer alice"), code("Bearer bob"), code("Bearer eve"), code()] == [200, 403, 401, 401]
        authenticator.user = ADMIN
        assert code() == 200


def test_another_header_may_say_it():
    """By any name."""
    authenticator = FakeAuthenticator(users={"alice": PERMITTED}, header="x-user")
    with client_of(authenticator) as client:
        assert client.get(STATUS, {"X-User": "alice"}).status_code == 200
        assert client.get(STATUS, {"Authorization": "alice"}).status_code == 401


def test_it_refuses_everybody_on_demand():
    """As bad credentials are: 401, also where nobody has to be known."""
    authenticator = FakeAuthenticator(ADMIN)
    authenticator.refuses = True
    with client_of(authenticator, authentication=False, authorization=False) as client:
        assert client.get(STATUS).status_code == 401


def test_users_have_what_they_were_given():
    """And nothing else."""
    user = user_with_permission("tasker.task:index", PERMISSION)
    assert [user.has_tasker_permission(each) for each in ("tasker.task:index", PERMISSION, "other:index")] == [
        True,
        True,
        False,
    ]
    assert (user.tasker_admin(), admin_user().tasker_admin()) == (False, True)
