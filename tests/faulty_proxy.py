"""The proxy of the testing kit, with URLs of SQLAlchemy's."""

from __future__ import annotations

import sqlalchemy as sa

from tasker_health.testing.proxy import FaultyProxy as Proxy
from tasker_health.testing.proxy import Mode

__all__ = ["FaultyProxy", "Mode"]


class FaultyProxy(Proxy):
    """The same."""

    def url_for(self, url: str) -> str:
        """Return *url* with this proxy in the place of its server."""
        proxied = sa.make_url(url).set(host="127.0.0.1", port=self.port)
        return proxied.render_as_string(hide_password=False)
