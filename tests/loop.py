"""A test that is a coroutine, run in an event loop of its own."""

from __future__ import annotations

import asyncio
import functools


def in_loop(test):
    """Return *test* as a plain function."""

    @functools.wraps(test)
    def run(*arguments, **options):
        return asyncio.run(test(*arguments, **options))

    return run
