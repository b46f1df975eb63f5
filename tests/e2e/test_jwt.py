"""A served process whose callers have tokens of an issuer, which rotates its keys meanwhile."""

from __future__ import annotations

import httpx

from issuer import claims, issuer, jwk, token
from served import served
from server import wait_until
from tasker_health.access import PERMISSION

PATIENCE_SECONDS = 60


def test_callers_of_a_served_process_are_known_by_an_issuers_tokens(tmp_path):
    """From its environment to the answer: 401, 403 and 200, a rotated key, and no token in the log."""
    with issuer(tmp_path) as (server, trusted):
        server.serve(jwk("RS256", "first"))
        with served(
            TASKER_HEALTH__STATUS_REQUIRES_AUTHENTICATION="true",
            TASKER_AUTH__AUTHENTICATION_ENABLED="true",
            TASKER_AUTH__AUTHENTICATOR_CLASS="jwt",
            TASKER_AUTH__AUTHORIZATION_ENABLED="true",
            TASKER_AUTH__AUTHORIZATION_COORDINATOR_CLASS="roles",
            TASKER_AUTH__ROLES__READER__PERMISSIONS=PERMISSION,
            TASKER_AUTH__TIMEOUT_SECONDS="30",
            TASKER_AUTH__FAILURES_PER_MINUTE="1000000",
            TASKER_AUTH__JWT__JWKS_URL=server.url,
            TASKER_AUTH__JWT__JWKS_CA_FILE=trusted,
            TASKER_AUTH__JWT__JWKS_COOLDOWN_SECONDS="0.2",
            TASKER_AUTH__JWT__ISSUER="https://issuer.example",
            TASKER_AUTH__JWT__ROLES_CLAIM="realm_access.roles",
        ) as process:
            client = httpx.Client(timeout=PATIENCE_SECONDS)

            def status(value):
                headers = {"authorization": f"Bearer {value}"} if value else {}
                return client.get(f"{process.url}/status", headers=headers)

            good = {"iss": "https://issuer.example", "realm_access": {"roles": ["reader"]}}
            first = token(payload=claims(**good), kid="first")
            refusal = status(None)
            assert refusal.status_code == 401
            assert refusal.headers["www-authenticate"].startswith("Bearer ")
            assert server.fetches == 0
            assert status(first).status_code == 200
            assert status(token(payload=claims(iss=good["iss"]), kid="first")).status_code == 403
            other = claims(**{**good, "iss": "https://other.example"})
            assert status(token(payload=other, kid="first")).status_code == 401
            assert status(token(payload=claims(**good, aud="shop"), kid="first")).status_code == 401
            server.serve(jwk("RS256", "second", 1))
            second = token(payload=claims(**good), kid="second", number=1)
            wait_until(lambda: status(second).status_code == 200, "the rotated key is known")
            assert status(first).status_code == 401
            assert process.ready()["ready"]
            assert first.rpartition(".")[2] not in process.log
            client.close()
