"""A console that tells its caller when whoever read it has gone."""

from __future__ import annotations

from typing import NoReturn

from rich.console import Console


class Told(Console):
    """Raises where Rich would end the program with 1, which a command has another meaning for."""

    def on_broken_pipe(self) -> NoReturn:
        """Say that nobody reads any more.

        Raises:
            BrokenPipeError: Always.
        """
        raise BrokenPipeError
