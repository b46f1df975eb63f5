"""A value that serves for a while."""

from __future__ import annotations

from tasker_health.kept import Kept


def test_nothing_is_kept_at_first():
    """No value, and no moment at which it would serve."""
    kept: Kept[str] = Kept()
    assert (kept.value, kept.made) == (None, None)
    assert kept.until < 0


def test_what_was_made_goes_with_its_value():
    """A new value has nothing made of it, even when it equals the old one."""
    kept: Kept[str] = Kept()
    kept.keep("report", 10.0)
    kept.made = b"bytes"
    assert (kept.value, kept.until, kept.made) == ("report", 10.0, b"bytes")
    kept.keep("report", 20.0)
    assert (kept.until, kept.made) == (20.0, None)


def test_the_end_is_at_once_and_the_value_can_still_be_seen():
    """It serves at no moment any more; whoever wants to say what was last can."""
    kept: Kept[str] = Kept()
    kept.keep("report", 10.0)
    kept.end()
    assert kept.until < 0
    assert kept.value == "report"


def test_variants_go_with_their_value_too():
    """What was made of the old value for some is not there for the new one."""
    kept: Kept[str] = Kept()
    kept.keep("report", 10.0)
    kept.variants["health"] = b"bytes"
    kept.keep("report", 20.0)
    assert kept.variants == {}
