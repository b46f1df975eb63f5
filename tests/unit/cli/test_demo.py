"""What the demo makes of the user's settings."""

import pytest
from pydantic import SecretStr

from tasker_health.cli import demo
from tasker_health.cli.demo import DemoOptions, run_demo, with_shop
from tasker_health.errors import ConfigurationError
from tasker_health.settings import DatabaseSettings, Settings, SourceSettings

SHOP = "sqlite:////shop.sqlite"
OWN = SecretStr("postgresql://own@127.0.0.1/own")


def test_without_settings_the_shop_is_what_readiness_asks_and_status_counts():
    """`./dev run` needs no configuration."""
    settings = with_shop(Settings(), SHOP)
    assert settings.database.url.get_secret_value() == SHOP
    assert settings.sources["shop"].kind == "dbos"
    assert settings.sources["shop"].url.get_secret_value() == SHOP


def test_what_the_user_names_is_kept():
    """A database and a source of the user's own go before the shop's; other sources stay beside it."""
    own = Settings(
        database=DatabaseSettings(url=OWN, require_writable=True),
        sources={"shop": SourceSettings(kind="dbos", url=OWN)},
    )
    assert with_shop(own, SHOP) == own
    beside = with_shop(Settings(sources={"other": SourceSettings(kind="dbos", url=OWN)}), SHOP)
    assert list(beside.sources) == ["other", "shop"]


def test_without_dbos_the_line_says_what_to_install(monkeypatch):
    """Whoever installed only the server is told which extra the demo needs, before anything starts."""
    monkeypatch.setattr(demo, "_on_signals", lambda _handler: None)
    monkeypatch.setattr(demo.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match=r"tasker-health\[demo\]"):
        run_demo(Settings(), DemoOptions(None, rate=0, seed=None, backoff_seconds=1))
