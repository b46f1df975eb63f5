"""What the pages tell to type exists: commands and their options, extras, YAML; and the table of symptoms is whole."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

from commands_page import commands
from settings_page import page as settings_page
from tasker_health.cli.probe import _options
from tasker_health.model import Reason, StatusReason

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
SYMPTOMS = ROOT / "docs" / "troubleshooting.md"

# Blocks in these languages are not run by a test of the pages, and why.
NOT_RUN = {
    "py": "parts of the user's own project, which is not there; tests/frameworks runs whole ones",
    "sql": "needs a server; the grants are carried out by tests/integration",
    "sh": "variables and installations of a machine that is not this one",
    "dockerfile": "built by tests/e2e where Docker runs",
    "text": "what a program prints",
    "promql": "put to a Prometheus by tests/docs/test_monitoring_rules.py, as the rules have them",
    "haproxy": "parts; what `deploy` writes is tried on the real program by tests/e2e",
    "nginx": "the same",
    "caddy": "the same",
    "ini": "parts of units; whole ones are verified by tests/e2e",
    "json": "an answer; its form is held by the tests of the endpoints",
}
RUN = {"python", "toml", "console", "yaml"}


def blocks(language):
    """Return the blocks in *language* of all pages, each with a readable id."""
    pattern = rf"^ *```{language}\n(.*?)^ *```"
    return [
        pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
        for page in PAGES
        for number, block in enumerate(re.findall(pattern, page.read_text(), re.MULTILINE | re.DOTALL))
    ]


def typed():
    """Return every line with our command that a page shows, in a block or between backticks."""
    found = []
    for page in PAGES:
        text = page.read_text()
        shown = re.findall(
            r"^ *\$ (?:.*\$\(|[A-Z_a-z0-9=. ]*/|\S+=\S+ )?(tasker-health [a-z-][^)\n]*)",
            text.replace("\\\n", " "),
            re.MULTILINE,
        )
        shown += re.findall(r"`(tasker-health [^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        found += [pytest.param(line, id=f"{page.relative_to(ROOT)}: {line[:60]}") for line in dict.fromkeys(shown)]
    return found


_OF_THE_SHELL = {"|", ">", ">>", "2>", "2>>", "&&", "||", "<", "&", ";"}


def words_of(line):
    """Return the words of our command in *line*, without what a shell does before and after it."""
    words = shlex.split(line, comments=True)[1:]
    end = next((at for at, word in enumerate(words) if word in _OF_THE_SHELL), len(words))
    return words[:end]


def parse(words):
    """Have *words* parsed as the command does it, and run nothing; a mistake raises."""
    if words[:1] == ["probe"]:
        _options(["http://127.0.0.1/" if word in {"URL", "..."} else word for word in words[1:]] or ["--help"])
        return
    known, name = commands(), "tasker-health"
    while words and f"{name} {words[0]}" in known:
        name = f"{name} {words.pop(0)}"
    command = known[name]
    if getattr(command, "commands", None) and words and not words[0].startswith("-"):
        raise ValueError(f"{name} has no command {words[0]}")
    command.make_context(name, words or (["--help"] if command.no_args_is_help else []))


@pytest.mark.parametrize("line", typed())
def test_every_command_that_is_shown_exists_with_its_options(line):
    """As it would be parsed; NAME, FILE and the like stand for words of the reader's own."""
    words = words_of(line)
    if words and (words[-1] == "--help" or "TARGET" in words):
        words = [word for word in words if word not in {"--help", "TARGET"}]
    try:
        parse(words)
    except typer.Exit:
        pass  # --version and --help end where they are read
    except typer.TyperException as error:
        if not str(error).startswith("Missing parameter"):  # text on a command leaves out what else it needs
            raise


def test_a_command_that_is_not_there_is_found():
    """The parser refuses what is not a command, an option or a value of ours."""
    for words in (["docter"], ["doctor", "databse"], ["check", "--quiet"], ["check", "--fail-on", "never"]):
        with pytest.raises((ValueError, typer.TyperException)):
            parse(words)


@pytest.mark.parametrize("block", blocks("yaml"))
def test_every_yaml_snippet_is_yaml(block):
    """One document or several, with something in them."""
    assert any(yaml.compose_all(block))


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_every_extra_that_is_named_exists(page):
    """`pip install 'tasker-health[name]'` installs something."""
    named = re.findall(r"tasker-health\[([a-z0-9, -]+)\]", page.read_text())
    assert {each.strip() for names in named for each in names.split(",")} <= set(EXTRAS)


def test_whatever_is_not_run_has_a_reason():
    """A block in a language that no test looks at would be true by luck alone."""
    languages = {each for page in PAGES for each in re.findall(r"^ *```(\w+)$", page.read_text(), re.MULTILINE)}
    assert languages - RUN - set(NOT_RUN) == set()


@pytest.mark.parametrize("reason", [*Reason, *StatusReason])
def test_every_reason_has_its_row_among_the_symptoms(reason):
    """Whoever sees one in an answer finds it in the first column."""
    assert f"\n| `{reason}` |" in SYMPTOMS.read_text()


def test_every_setting_among_the_symptoms_exists():
    """The remedy names what can be set."""
    table, group = set(), ""
    for line in settings_page().splitlines():
        if line.startswith("## "):
            group = line.removeprefix("## ")
            table.add(group)
        elif line.startswith("| `"):
            table.add(f"{group}.{line.split('`')[1]}")
    groups = {name.partition(".")[0] for name in table}
    named = set(re.findall(r"`([a-z]+\.[a-z_.<>]+)(?: = [^`]*)?`", SYMPTOMS.read_text()))
    assert {name for name in named if name.partition(".")[0] in groups} <= table | ANSWERED


# Parts of an answer that are written like settings.
ANSWERED = {"database.connection_ratio"}


def test_there_are_enough_symptoms_and_each_has_four_cells():
    """Symptom, how to tell, cause and remedy; none is left empty but how to tell."""
    rows = [line for line in SYMPTOMS.read_text().splitlines() if line.startswith("| ")]
    symptoms = [row for row in rows if "how to tell" not in row]
    assert len(symptoms) >= 25
    for row in symptoms:
        symptom, _, cause, remedy = (each.strip() for each in row.strip("| ").split(" | "))
        assert all((symptom, cause, remedy)), row
