"""The OpenAPI 3.1 document, made from the values that are encoded, so that it cannot drift from them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import UnsetType

from tasker_health.history import History
from tasker_health.model import DetailedStatusReport, Liveness, Problem, Readiness, Startup, StatusReport
from tasker_health.settings import CHECK_NAME
from tasker_health.stuck import StuckReport
from tasker_health.web.formats.actuator import Actuator, ActuatorHealth
from tasker_health.web.formats.health_json import HealthDocument, HealthJson
from tasker_health.web.formats.microprofile import MicroProfileHealth
from tasker_health.web.negotiation import FORMATS, PAGE, PLAIN

_FORMATS = (HealthDocument, ActuatorHealth, MicroProfileHealth)
_REPORTS = (Liveness, Readiness, Startup, StatusReport, DetailedStatusReport, Problem, History, StuckReport, *_FORMATS)

_FORMAT = {
    "name": "format",
    "in": "query",
    "description": "In which words to answer, before what `Accept` says; anything else is plain JSON.",
    "schema": {"type": "string"},
    "examples": {name: {"value": name} for name in ("json", *(form.name for form in FORMATS))},
}

_REFUSALS = {
    "401": "Credentials are missing or not valid.",
    "403": "The caller is known, but not permitted.",
    "500": "Who may read the status cannot be decided.",
}


def document(prefix: str, *, metrics: bool, history: bool) -> dict[str, Any]:
    """Return the document for endpoints under *prefix*, with the *metrics* and the *history* or without."""
    _, components = msgspec.json.schema_components(_REPORTS, ref_template="#/components/schemas/{name}")
    for model in _structs(_REPORTS):
        components[model.__name__]["required"] = _always_there(model)
    status = _reads(
        "How is the whole system?",
        (StatusReport, DetailedStatusReport),
        "Healthy or degraded.",
        "Unhealthy.",
        refusals=_REFUSALS,
    )
    ready = ("Should it get traffic now?", (Readiness,), "Ready.", "Not ready.")
    name = {
        "name": "check",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": f"^{CHECK_NAME.pattern}$"},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tasker Health",
            "version": "1",
            "description": "Health of a service and of the work that it does.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": {
            f"{prefix}/health/live": _reads("Should this process be restarted?", (Liveness,), "Alive.", "Wedged."),
            f"{prefix}/health/ready": _reads(*ready),
            f"{prefix}/health/ready/{{check}}": {
                **_reads(*ready, refusals={"404": "There is no such check."}),
                "parameters": [name],
            },
            f"{prefix}/health/startup": _reads("Has it finished starting?", (Startup,), "Started.", "Starting."),
            f"{prefix}/health/status": status,
            f"{prefix}/health": _as_page_too(status),
            f"{prefix}/health/stuck": _stuck(),
            **({f"{prefix}/health/history": _history()} if history else {}),
            **({f"{prefix}/metrics": _metrics()} if metrics else {}),
            f"{prefix}/openapi.json": {
                method: {
                    "summary": "What is answered.",
                    "responses": {"200": {"description": "This document.", **_content({"type": "object"})}},
                }
                for method in ("get", "head")
            },
        },
        "components": {"schemas": components},
    }


def _reads(
    summary: str,
    reports: tuple[type[Any], ...],
    good_means: str,
    bad_means: str,
    refusals: dict[str, str] | None = None,
) -> dict[str, Any]:
    body = {
        "content": {
            PLAIN: {"schema": _any_of(*reports, MicroProfileHealth)},
            HealthJson.media_type: {"schema": _any_of(HealthDocument)},
            Actuator.media_type: {"schema": _any_of(ActuatorHealth)},
        }
    }
    problem = _content(_any_of(Problem))
    responses = {
        "200": {"description": good_means, **body},
        "503": {"description": bad_means, **body},
        **{code: {"description": meaning, **problem} for code, meaning in (refusals or {}).items()},
    }
    without_body = {code: {"description": response["description"]} for code, response in responses.items()}
    return {
        "get": {"summary": summary, "parameters": [_FORMAT], "responses": responses},
        "head": {"summary": summary, "parameters": [_FORMAT], "responses": without_body},
    }


def _as_page_too(reads: dict[str, Any]) -> dict[str, Any]:
    """Return the operations of the status with HTML for a browser beside every JSON."""
    html = {PAGE: {"schema": {"type": "string"}}}
    responses = {
        code: {**response, "content": {**response["content"], **html}} if code not in _REFUSALS else response
        for code, response in reads["get"]["responses"].items()
    }
    summary = "The same for people: a page for a browser."
    return {
        "get": {**reads["get"], "summary": summary, "responses": responses},
        "head": {**reads["head"], "summary": summary},
    }


def _any_of(*models: type[Any]) -> dict[str, Any]:
    schemas = [{"$ref": f"#/components/schemas/{model.__name__}"} for model in models]
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _history() -> dict[str, Any]:
    good = {"description": "The last hour, however bad it was."}
    return _always_good("How was the last hour?", good, _content(_any_of(History)))


def _stuck() -> dict[str, Any]:
    good = {"description": "What stands still and why, however much that is, and which sources could not say."}
    return _always_good("Which tasks stand still, and why?", good, _content(_any_of(StuckReport)))


def _metrics() -> dict[str, Any]:
    text = {"schema": {"type": "string"}}
    good = {"description": "The metrics, also of what is unhealthy."}
    formats = {"content": {"text/plain": text, "application/openmetrics-text": text}}
    return _always_good("The same facts for Prometheus.", good, formats)


def _always_good(summary: str, good: dict[str, Any], formats: dict[str, Any]) -> dict[str, Any]:
    """Return the operations of what is answered with 200 to whoever may read the status."""
    problem = _content(_any_of(Problem))
    refusals = {code: {"description": meaning} for code, meaning in _REFUSALS.items()}
    with_bodies = {code: {**response, **problem} for code, response in refusals.items()}
    return {
        "get": {"summary": summary, "responses": {"200": {**good, **formats}, **with_bodies}},
        "head": {"summary": summary, "responses": {"200": good, **refusals}},
    }


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {PLAIN: {"schema": schema}}}


def _always_there(model: type[msgspec.Struct]) -> list[str]:
    """Return every field that is never left out: a default of `None` is sent as `null`."""
    return [field.encode_name for field in msgspec.structs.fields(model) if not _may_be_left_out(field.type)]


def _may_be_left_out(annotation: Any) -> bool:
    return UnsetType in getattr(annotation, "__args__", ())


def _structs(types: Iterable[Any], found: set[type[msgspec.Struct]] | None = None) -> set[type[msgspec.Struct]]:
    """Return every struct in *types*, however deep, beside those *found* already: one may hold itself."""
    found = set() if found is None else found
    for each in types:
        if not (isinstance(each, type) and issubclass(each, msgspec.Struct)):
            _structs(getattr(each, "__args__", ()), found)
        elif each not in found:
            found.add(each)
            _structs([field.type for field in msgspec.structs.fields(each)], found)
    return found
