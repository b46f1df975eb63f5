"""A value that serves for a while."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """The newest value of its kind, until when it serves everybody, and what was made of it.

    Attributes:
        value: What was kept last; `None` before.
        until: The moment on the monotonic clock from which on it serves no more.
        made: What whoever hands it out has made of this very value for everybody, such as its bytes.
        variants: What has been made of it for some, by what they asked for. Both go with the value.
    """

    __slots__ = ("made", "until", "value", "variants")

    def __init__(self) -> None:
        self.value: T | None = None
        self.until: float = -math.inf
        self.made: Any = None
        self.variants: dict[Hashable, Any] = {}

    def keep(self, value: T, until: float) -> None:
        """Let *value* serve until the moment *until*, in place of what was kept before."""
        # In this order: another thread that sees the new `until` must not see what was made of the value before.
        self.made, self.variants = None, {}
        self.value, self.until = value, until

    def end(self) -> None:
        """Let it serve no more."""
        self.until = -math.inf
