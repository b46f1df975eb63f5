"""What the endpoints answer, as `wire-1.json` keeps it. Run it to add what is new; it takes nothing away."""

from __future__ import annotations

import json
from pathlib import Path

from tasker_health.web.openapi import document

FROZEN = Path(__file__).with_name("wire-1.json")
POLICY = "docs/releases.md, 'The wire contract'"


def wire():
    """Return keys, types, words and codes of everything that is answered, from the document that is made of the code.

    A key that is not always there ends in `?`.
    """
    made = document("/tasker", metrics=True, history=True)
    schemas = made["components"]["schemas"]
    return {
        "version": made["info"]["version"],
        "paths": {
            path: {method: sorted(asked["responses"]) for method, asked in methods.items() if method in {"get", "head"}}
            for path, methods in made["paths"].items()
        },
        "words": {name: sorted(each["enum"]) for name, each in schemas.items() if "enum" in each},
        "answers": {name: _keys(each) for name, each in schemas.items() if "properties" in each},
    }


def _keys(schema):
    always = schema.get("required", ())
    return {key if key in always else f"{key}?": _type(each) for key, each in schema["properties"].items()}


def _type(schema):
    """Return the type of a value in words: `integer or null`, `list of Reason`."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(sorted(map(_type, schema["anyOf"])))
    if "const" in schema or "enum" in schema:
        return " or ".join(sorted(json.dumps(each) for each in schema.get("enum", [schema.get("const")])))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"each name: {_type(schema['additionalProperties'])}"
    return schema.get("type", "anything")


def broken(frozen, now, above=""):
    """Return what was promised in *frozen* and is gone or another in *now*, one line each."""
    if isinstance(frozen, dict) and isinstance(now, dict):
        lost = [f"{above}{key} is gone (now: {', '.join(now) or 'none'})" for key in frozen if key not in now]
        return lost + [
            line for key in frozen if key in now for line in broken(frozen[key], now[key], f"{above}{key}: ")
        ]
    if isinstance(frozen, list) and isinstance(now, list):
        return [f"{above}{each} is gone" for each in frozen if each not in now]
    return [] if frozen == now else [f"{above}was {frozen}, is {now}"]


def added(frozen, now):
    """Return *frozen* with what is new in *now*, in the order of its keys."""
    if isinstance(frozen, dict) and isinstance(now, dict):
        both = {key: added(frozen[key], now[key]) if key in now else frozen[key] for key in frozen}
        return dict(sorted({**{key: each for key, each in now.items() if key not in frozen}, **both}.items()))
    if isinstance(frozen, list) and isinstance(now, list):
        return sorted({*frozen, *now})
    return frozen


def kept():
    """Return what is kept."""
    return json.loads(FROZEN.read_text()) if FROZEN.exists() else {}


if __name__ == "__main__":
    FROZEN.write_text(json.dumps(added(kept(), wire()), indent=2) + "\n")
