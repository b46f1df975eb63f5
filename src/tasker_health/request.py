"""One request as every skin hands it to the endpoints: no framework in it."""

from __future__ import annotations

from collections.abc import Iterable

Headers = Iterable[tuple[bytes, bytes]]


class Request:
    """What was asked.

    Attributes:
        method: `GET`, `HEAD`, ... as sent.
        path: The path below the mount point, percent-decoded.
        raw_headers: Pairs of lower-case name and value, in the order sent.
        client: Address of the peer, or an empty string.
        scope: What the server handed over (the ASGI scope or the WSGI environ), for authenticators that need it.
        query: What stands behind the question mark, still percent-encoded.
        caller: Who that was found to be, for the log; empty while nobody has looked.
        folded: Whether the server may have joined, with a comma, headers that were sent more than once: so WSGI has it.
    """

    __slots__ = ("caller", "client", "folded", "method", "path", "query", "raw_headers", "scope")

    def __init__(
        self,
        method: str,
        path: str,
        raw_headers: Headers,
        client: str = "",
        scope: object = None,
        *,
        query: str = "",
        folded: bool = False,
    ) -> None:
        self.method: str = method
        self.path: str = path
        self.raw_headers: Headers = raw_headers
        self.client: str = client
        self.scope: object = scope
        self.query: str = query
        self.folded: bool = folded
        self.caller: str = ""

    def __repr__(self) -> str:
        # Headers carry credentials.
        return f"<Request {self.method} {self.path!r}>"

    def header(self, name: str) -> str | None:
        """Return the value of header *name*, the first one if it was sent more than once, or `None`."""
        return next(iter(self.headers(name)), None)

    def headers(self, name: str) -> list[str]:
        """Return every value that was sent for header *name*."""
        wanted = name.lower().encode("latin-1")
        return [value.decode("latin-1") for key, value in self.raw_headers if key == wanted]
