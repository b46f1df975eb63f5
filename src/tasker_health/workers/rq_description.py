"""What RQ's jobs call their function: it stands in their description, or in a pickle, which nobody opens here."""

from __future__ import annotations

import re

_CALL = re.compile(r"([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+)\(")
_LONGEST_NAME = 200


def function_of(description: str | None) -> str | None:
    """Return the dotted name of the function that *description* shows a call of; `None`: it has other words.

    RQ writes it so unless a job has a description of its own: `shop.ship(3, fast=True)`. The arguments are left out.
    """
    found = _CALL.match(description or "")
    return found[1][:_LONGEST_NAME] if found else None
