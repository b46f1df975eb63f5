"""An environment as a new user has it: empty, with our own wheel and what is locked, and nothing of this checkout.

Whatever is fetched is verified by the hashes of `requirements/dev.lock`; our wheel is built by what is installed here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements" / "dev.lock"
UV = Path(sys.executable).parent / "uv"
PATIENCE_SECONDS = 240
_EPOCH = "1767225600"
_BUILT_FROM = ("src", "README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml")


def copied(folder):
    """Copy what a release is made of, as it is now, into the new *folder*, and return that."""
    folder.mkdir()
    for name in _BUILT_FROM:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def built(source, output, *what):
    """Build *source* into *output*, fetching nothing, and return the sdist and the wheel that are there then."""
    build = [sys.executable, "-m", "build", "--no-isolation", *what, "--outdir", str(output), str(source)]
    run(build, env={**os.environ, "SOURCE_DATE_EPOCH": _EPOCH})
    return next(iter(output.glob("*.tar.gz")), None), next(iter(output.glob("*.whl")), None)


def locked(*requirements):
    """Return the lines of the lock, hashes included, for *requirements* and all that they need here."""
    wanted = _needed(requirements)
    entries = re.findall(r"^(([\w.-]+)(?:\[[^\]]*\])?==.*(?:\n {4}.*)*)", LOCK.read_text(), re.MULTILINE)
    chosen = {canonicalize_name(name): entry for entry, name in entries if canonicalize_name(name) in wanted}
    assert wanted == set(chosen), f"not in the lock: {wanted - set(chosen)}"
    return "\n".join(chosen.values()) + "\n"


def _needed(requirements):
    """Return the names of *requirements* and of what they need, as the packages that are installed here say."""
    pending, seen = [Requirement(each) for each in requirements], set()
    while pending:
        each = pending.pop()
        if (each.name, frozenset(each.extras)) in seen:
            continue
        seen.add((each.name, frozenset(each.extras)))
        for line in metadata.requires(each.name) or []:
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in each.extras or {""}):
                pending.append(needed)
    return {canonicalize_name(name) for name, _ in seen} - {"tasker-health"}


def run(words, **options):
    """Return the finished command, which must have ended with 0."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False, **options)
    assert done.returncode == 0, (words, done.stdout[-2000:], done.stderr[-4000:])
    return done


class EmptyEnvironment:
    """A virtual environment without anything in it, not even pip.

    Args:
        folder: Where it is made; its home and working directory lie beside it.
        python: The interpreter that it is made of.
    """

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.home = folder.parent / f"{folder.name}-home"
        self.home.mkdir()
        run([python, "-m", "venv", "--without-pip", str(folder)])

    def variables(self, **more):
        """Return an environment without anything of this checkout, of its settings or of its Python."""
        bare = {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(self.home), "LANG": "C.UTF-8"}
        return {**bare, **more}

    def install(self, wheel, *requirements):
        """Install *wheel*, and what *requirements* need, by the hashes of the lock."""
        needed = self.home / "needed.txt"
        needed.write_text(locked(*requirements))
        self._install("--require-hashes", "-r", str(needed))
        self._install(str(wheel))

    def _install(self, *what):
        if UV.exists():
            run([str(UV), "pip", "install", "--python", str(self.bin / "python"), "--no-deps", *what])
        else:
            run([sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install", "--no-deps", *what])

    def run(self, *words, **more):
        """Return the finished command *words*, of which the first is found in this environment."""
        return subprocess.run(
            [str(self.bin / words[0]), *words[1:]],
            env=self.variables(**more),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def check(self):
        """Return what `pip check` says, or uv's, of what is installed."""
        if UV.exists():
            return run([str(UV), "pip", "check", "--python", str(self.bin / "python")])
        return run([sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "check"])


def wheelhouse(folder, *requirements):
    """Fill *folder* with the locked files of *requirements* and all that they need, verified by their hashes."""
    folder.mkdir()
    needed = folder / "needed.txt"
    needed.write_text(locked(*requirements))
    pip = [sys.executable, "-m", "pip", "--quiet", "download", "--require-hashes", "--no-deps"]
    run([*pip, "-r", str(needed), "-d", str(folder)], env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    return folder
