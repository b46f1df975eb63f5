"""What the words for reasons say."""

import pytest

from tasker_health.meaning import cause_of, remedy_of
from tasker_health.model import Reason, StatusReason


@pytest.mark.parametrize("reason", [*StatusReason, *Reason])
def test_every_reason_has_a_cause_and_a_remedy_of_one_line(reason):
    """Each is a sentence, and holds neither markup nor an address."""
    for words in (cause_of(reason), remedy_of(reason)):
        assert words[0].isupper()
        assert words.endswith(".")
        assert words.isprintable()
        assert len(words) < 120
        assert "://" not in words


def test_no_two_reasons_are_told_alike():
    """A reader can tell them apart by their words."""
    for words_of in (cause_of, remedy_of):
        words = [words_of(reason) for reason in (*StatusReason, *Reason)]
        assert len(set(words)) == len(words)
