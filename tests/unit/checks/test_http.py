"""What the check of an HTTP service refuses when it is made: a slip there would look like an outage in each run."""

from __future__ import annotations

import pytest

from tasker_health.checks.dependencies.http import HttpCheck
from tasker_health.errors import ConfigurationError


@pytest.mark.parametrize("proxy", ["nonsense", "ftp://proxy:21", "socks5://proxy:1080", "http://"])
def test_a_proxy_is_one(proxy):
    """Of HTTP, by its URL."""
    with pytest.raises(ConfigurationError, match=r"check shop: proxy = '\*\*\*': not a proxy; write it as http://host"):
        HttpCheck("shop", "http://shop/", proxy=proxy)


@pytest.mark.parametrize("header", ["Content-Length", "transfer-encoding"])
def test_headers_of_a_body_are_refused(header):
    """There is none."""
    with pytest.raises(ConfigurationError, match="nothing is sent that it could be true of"):
        HttpCheck("shop", "http://shop/", headers={header: "1"})
