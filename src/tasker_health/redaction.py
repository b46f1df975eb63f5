"""Text that may be logged: without the secrets that are known by their form."""

from __future__ import annotations

import re

# Up to the last @ of the word: a user name may have one too.
_USER_IN_URL = re.compile(r"://\S*@")
_SECRET_IN_QUERY = re.compile(r"((?:pwd|pass|passwd|password|secret|token|key)\w*(?:=|%3D))[^&\s]+", re.IGNORECASE)


def redacted(text: str) -> str:
    """Return *text* with the users and passwords of URLs, and the secrets of queries, replaced by stars."""
    return _USER_IN_URL.sub("://***@", _SECRET_IN_QUERY.sub(r"\1***", text))
