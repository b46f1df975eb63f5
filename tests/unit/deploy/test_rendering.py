"""Templates: every value they use is given, and braces are left to others."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import jinja2
import jinja2.meta
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tasker_health.deploy import rendering

TEMPLATES = Path(rendering.__file__).parent / "templates"


def filled(source, **values):
    """Return *source* as `render` fills it."""
    return rendering._environment().from_string(source).render(**values)


@pytest.mark.parametrize(
    "template", sorted(str(each.relative_to(TEMPLATES)) for each in TEMPLATES.rglob("*") if each.is_file())
)
def test_every_template_can_be_read(template):
    """Its statements are closed, and what it includes is there."""
    environment = rendering._environment()
    environment.get_template(template)
    source = (TEMPLATES / template).read_text()
    for included in jinja2.meta.find_referenced_templates(environment.parse(source)):
        assert (TEMPLATES / included).is_file()


def test_a_value_that_is_not_given_is_an_error():
    """It is never written as nothing."""
    with pytest.raises(jinja2.UndefinedError):
        filled("<< name >>")


def test_braces_are_not_ours():
    """Helm, Go and Prometheus have them."""
    assert filled("{{ .Values.x }} {% y %} {# z #} << x >>", x=1) == "{{ .Values.x }} {% y %} {# z #} 1"


def test_a_statement_leaves_no_line_behind():
    """Neither an empty one nor its indentation, and the last line keeps its end."""
    assert filled("a\n  <% if x %>\nb\n  <% endif %>\nc\n", x=True) == "a\nb\nc\n"


@given(st.text())
def test_quoted_text_comes_back(text):
    """From JSON, YAML and TOML alike; an emoji is no pair of surrogates to the last two."""
    written = filled("<< text | quoted >>", text=text)
    assert json.loads(written) == yaml.safe_load(written) == tomllib.loads(f"it = {written}")["it"] == text


@pytest.mark.parametrize(
    ("figure", "written"), [(20.0, "20"), (0.8, "0.8"), (5, "5"), (1234567.5, "1234567.5"), (1e7, "10000000")]
)
def test_a_figure_has_no_point_it_does_not_need(figure, written):
    """20.0 s are 20."""
    assert filled("<< figure | number >>", figure=figure) == written


def test_without_jinja_the_command_says_what_to_install():
    """One line with the remedy, and no traceback."""
    code = "import sys; sys.modules['jinja2'] = None; from tasker_health.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "deploy", "kubernetes"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "tasker-health: deploy: jinja2 is not installed: pip install 'tasker-health[deploy]'\n"
