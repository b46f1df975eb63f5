"""The formats' own rules, one by one: what the schemas of `test_formats` cannot say.

They are those of draft-inadarei-api-health-check-06, of Spring Boot's Actuator and of MicroProfile Health 4.0.
"""

from __future__ import annotations

import functools

import pytest

from unit.web.test_formats import PATHS, SITUATIONS, answers, of_tasker

EVERYWHERE = [
    pytest.param(situation, path, id=f"{situation.__name__}-{path}") for situation in SITUATIONS for path in PATHS
]
TIMES = {"_ms": "ms", "_seconds": "s", "responseTime": "ms"}


@functools.cache
def answer(situation, path, name):
    """Return the code and the document of *path* in the format *name*."""
    [response] = answers(situation(), (f"{path}?format={name}", {}))
    return response.status_code, response.json()


def observations(document):
    """Return each observation of health+json with its key."""
    return [(key, each) for key, found in document["checks"].items() for each in found]


@pytest.mark.parametrize(("situation", "path"), EVERYWHERE)
def test_health_json_the_word_goes_with_the_code(situation, path):
    """Section 3.1: `pass` and `warn` MUST be 2xx or 3xx, `fail` MUST be 4xx or 5xx."""
    code, document = answer(situation, path, "health")
    assert document["status"] in ({"pass", "warn"} if code < 400 else {"fail"})


@pytest.mark.parametrize(("situation", "path"), EVERYWHERE)
def test_health_json_output_is_for_what_is_not_well(situation, path):
    """Sections 3.1, 3.5 and 4.8: omitted for `pass`, as a whole and in each part; `warn` SHOULD say more."""
    _, document = answer(situation, path, "health")
    for key, each in [("", document), *observations(document)]:
        if "status" in each:
            assert bool(each.get("output")) == (each["status"] != "pass"), key
        else:
            assert "output" not in each, key


@pytest.mark.parametrize(("situation", "path"), EVERYWHERE)
def test_health_json_keys_have_two_parts_at_most(situation, path):
    """Section 4: a component and a measurement, neither with a colon; one observation for each, of sources several."""
    _, document = answer(situation, path, "health")
    for key, found in document["checks"].items():
        parts = key.split(":")
        assert len(parts) <= 2
        assert all(parts)
        assert len(found) == 1 or key == "sources:status"
        assert len(found) == len({each.get("componentId") for each in found})


@pytest.mark.parametrize(("situation", "path"), EVERYWHERE)
def test_health_json_a_time_has_its_unit(situation, path):
    """Section 4.4: a unit where there is one, and never without a value; counts, ratios and words have none."""
    _, document = answer(situation, path, "health")
    for key, each in observations(document):
        unit = next((unit for end, unit in TIMES.items() if key.endswith(end)), None)
        assert each.get("observedUnit") == (unit if "observedValue" in each else None), key


@pytest.mark.parametrize(("situation", "path"), EVERYWHERE)
def test_actuator_the_word_goes_with_the_code(situation, path):
    """`HttpCodeStatusMapper`: `DOWN` and `OUT_OF_SERVICE` are 503, everything else is 200."""
    code, document = answer(situation, path, "actuator")
    assert code == (503 if document["status"] in {"DOWN", "OUT_OF_SERVICE"} else 200)


@pytest.mark.parametrize(("situation", "path"), EVERYWHERE)
def test_actuator_the_whole_is_a_component_too(situation, path):
    """What a group of Spring Boot's is, its state component is; others may be worse where they do not decide."""
    _, document = answer(situation, path, "actuator")
    [state] = document["components"].keys() & {"livenessState", "readinessState", "startupState", "tasks"}
    assert document["components"][state]["status"] == document["status"]
    if document["status"] == "UP" and path != "status":
        down = {name for name, each in document["components"].items() if each["status"] != "UP"}
        assert down <= set(document["components"][state]["details"].get("degraded_checks", []))


@pytest.mark.parametrize(("situation", "path"), EVERYWHERE)
def test_microprofile_names_are_told_apart(situation, path):
    """Each check has a name, and no two the same; `UP` is 200 and `DOWN` is 503."""
    code, document = answer(situation, path, "microprofile")
    names = [check["name"] for check in document["checks"]]
    assert len(names) == len(set(names))
    assert all(names)
    assert code == {"UP": 200, "DOWN": 503}[document["status"]]


def test_microprofile_data_has_one_level():
    """What has parts is told by a name with dots, as the specification's `disk.free.space`."""
    _, document = answer(of_tasker, "status", "microprofile")
    [data] = [check["data"] for check in document["checks"] if check["name"] == "source-shop"]
    assert data["tasks_by_state.complete"] == 1180
    assert data["steps_by_state.in.backoff"] == 1
    assert data["groups.shop.failed"] == 13
    assert not any(isinstance(each, dict) for each in data.values())
