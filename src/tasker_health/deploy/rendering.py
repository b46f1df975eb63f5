"""Fills a template of this room.

Values stand between `<<` and `>>`, statements between `<%` and `%>`: braces belong to Helm, Go and Prometheus.
"""

from __future__ import annotations

import json
import re

from tasker_health.errors import ConfigurationError

try:
    from jinja2 import Environment, PackageLoader, StrictUndefined
except ModuleNotFoundError as error:
    if error.name != "jinja2":
        raise
    raise ConfigurationError("deploy: jinja2 is not installed: pip install 'tasker-health[deploy]'") from None

_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
"""What YAML wants escaped beside what JSON does."""

_NO_WORDS_OF_YAML = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def render(template: str, **values: object) -> str:
    """Return *template*, such as `nginx/nginx.conf`, with *values*.

    The filter `quoted` writes text as YAML, JSON and TOML quote it alike; `word` a name that YAML might take for
    something else; `number` a figure without a point it does not need; `duration` seconds as HAProxy and NGINX read
    them, which know no point.

    Raises:
        jinja2.UndefinedError: It uses a value that is not given.
    """
    return _environment().get_template(template).render(**values)


def quoted(text: str) -> str:
    """Return *text* as YAML, JSON and TOML quote it alike."""
    # An escaped pair of surrogates, as JSON has it, is two characters to YAML.
    return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


def word(name: str) -> str:
    """Return *name*, in quotes where YAML would take it for something else than text."""
    return quoted(name) if name in _NO_WORDS_OF_YAML or name[:1].isdigit() else name


def number(figure: float) -> str:
    """Return *figure* to its last digit, without a point that it does not need."""
    return str(int(figure)) if figure == int(figure) else repr(figure)


def _environment() -> Environment:
    made = Environment(
        autoescape=False,  # noqa: S701 -- nothing of it is HTML  # nosec B701
        loader=PackageLoader("tasker_health.deploy"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
    )
    made.filters["quoted"] = quoted
    made.filters["word"] = word
    made.filters["number"] = number
    made.filters["duration"] = _duration
    return made


def _duration(seconds: float) -> str:
    return f"{seconds:g}s" if seconds == int(seconds) else f"{round(seconds * 1000)}ms"
