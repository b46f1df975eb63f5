"""What an operator would otherwise copy from somewhere: manifests and configurations, made from the settings in force.

A target is a file of this room and a folder of `templates/`: a function that takes a `Plan` and its own options and
returns `Files`. It reads nothing else and writes nothing; `writing` does. All of a plan's figures agree with one
another, or there is no plan.
"""

from __future__ import annotations

from collections.abc import Mapping

Files = Mapping[str, str]
"""Text by path, which is relative to where the operator wants it and has no `..` in it."""
