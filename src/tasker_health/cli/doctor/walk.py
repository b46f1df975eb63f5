"""`tasker-health doctor`: the walk through the whole installation, part by part.

The rules for whoever writes a part:

* It looks with the settings of the service, on connections of its own, and changes nothing that lasts.
* It returns within `Visit.part_seconds`, whatever hangs; what it did not come to is `unknown`, and said.
* A finding says what was measured and, unless it is well, what to do: a remedy that makes the next walk clean.
* Nothing secret is in it: no password, no token, of a URL only its scheme, host and name.
* It finds causes, not their consequences: what another part has found is not told a second time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tasker_health.cli.doctor.findings import Finding
from tasker_health.loading import Origins
from tasker_health.settings import Settings


@dataclass(frozen=True)
class Visit:
    """What is looked at.

    Attributes:
        settings: Of the service.
        origins: Where each of their values came from.
        manifests: Files that deploy it; `-` is standard input.
        part_seconds: How long one part may take.
    """

    settings: Settings
    origins: Origins
    manifests: tuple[str, ...] = ()
    part_seconds: float = 15


Part = Callable[[Visit], Awaitable[list[Finding]]]
