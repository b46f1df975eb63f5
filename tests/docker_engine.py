"""A Docker engine of a test's own, and an image of Python that is made of what this machine has: nothing is fetched."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pip
import pytest
from packaging.requirements import Requirement

from server import missing_part, wait_until

ROOT = Path(__file__).parents[1]
PATIENCE_SECONDS = 60
_ABSENT = {"test", "idlelib", "lib2to3", "tkinter", "turtledemo", "ensurepip", "site-packages", "dist-packages"}
PACKAGE = "tasker-health[standalone]"
_MOST_DATA = 3 << 30
_NOT_ALLOWED = "this machine does not allow a Docker engine"
_OF_THE_ENGINE = {125, 126}
"""Exit codes of `docker run` where it is not the command that failed."""
_OF_THE_INSTALLER = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}


class DockerEngine:
    """`dockerd` with data and a socket of its own; it has no network of its own, so its containers use the host's."""

    def __init__(self):
        for program in ("dockerd", "docker"):
            if shutil.which(program) is None:
                missing_part(f"{program} is not here: apt-get install docker.io")
        if os.geteuid() != 0:
            pytest.skip("a Docker engine is root's, and this test is not run by root")
        # Paths of its sockets may have 108 characters at most, which pytest's own folders would exceed.
        self.folder = Path(tempfile.mkdtemp(prefix="engine-", dir=_memory()))
        self._host = f"unix://{self.folder}/socket"
        try:
            words = [self._start(driver) for driver in ("overlay2", "vfs")]
        except BaseException:
            self.end()
            raise
        if self._process.poll() is not None:
            self.end()
            pytest.skip(f"{_NOT_ALLOWED}: {words[-1]}")

    def try_container(self, image):
        """Skip the test where the engine may not start a container of *image*, which has a shell."""
        done = self._docker("run", "--rm", "--network", "host", image, "/bin/sh", "-c", ":")
        if done.returncode in _OF_THE_ENGINE:
            pytest.skip(f"{_NOT_ALLOWED}: {done.stderr.decode().strip()}")

    def run(self, *words, **more):
        """Return what `docker` answers to *words*, without the line's end; its failure is the test's."""
        done = self._docker(*words, **more)
        assert done.returncode == 0, f"docker {' '.join(words)}: {done.stdout.decode()}{done.stderr.decode()}"
        return done.stdout.decode().strip()

    def end(self):
        """End its containers and itself, and remove its data."""
        if self._process.poll() is None:
            containers = self._docker("ps", "--all", "--quiet").stdout.decode().split()
            if containers:
                self._docker("rm", "--force", *containers)
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # its containerd, should it have left one
        self._process.wait(PATIENCE_SECONDS)
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            if line.split()[1].startswith(str(self.folder)):
                subprocess.run(["umount", "--lazy", line.split()[1]], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, driver):
        """Start it with the storage *driver*, if it does not run; return its last words."""
        if getattr(self, "_process", None) is not None and self._process.poll() is None:
            return ""
        log = self.folder / "log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    *("dockerd", "--host", self._host, "--bridge", "none", "--iptables=false"),
                    *("--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec"),
                    *("--pidfile", f"{self.folder}/pid", "--storage-driver", driver),
                ],
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_until(lambda: self._process.poll() is not None or self._docker("info").returncode == 0, "dockerd answers")
        return log.read_text(errors="replace").strip().rpartition("\n")[2]

    def _docker(self, *words, **more):
        environment = {**os.environ, "DOCKER_BUILDKIT": "0", "DOCKER_CONFIG": str(self.folder)}
        return subprocess.run(
            ["docker", "--host", self._host, *words],
            env=environment,
            capture_output=True,
            timeout=2 * PATIENCE_SECONDS,
            check=False,
            **more,
        )


def _memory():
    """Return a folder in memory that is large enough, if there is one: an image is some hundred files a second."""
    shared = Path("/dev/shm")
    return shared if shared.is_dir() and shutil.disk_usage(shared).free > _MOST_DATA else None


def python_image():
    """Return a tar of this machine's Python with pip, a shell, `rm` and their libraries: what `docker import` takes."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    stdlib = Path(sysconfig.get_path("stdlib"))
    programs = {f"/usr/local/bin/{version}": Path(sys.executable).resolve(), "/bin/sh": Path("/bin/sh").resolve()}
    programs["/bin/rm"] = Path("/bin/rm").resolve()
    compiled = [path for path in stdlib.glob("lib-dynload/*.so") if "tkinter" not in path.name] + [
        Path(file.locate())
        for name in _needed(Requirement(PACKAGE))
        for file in importlib.metadata.distribution(name).files or []
        if file.name.endswith(".so")
    ]
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, path in {**programs, **_libraries([*programs.values(), *compiled])}.items():
            tar.add(path.resolve(), name)
        tar.add(stdlib, f"/usr/local/lib/{version}", filter=_wanted)
        tar.add(Path(pip.__file__).parent, f"/usr/local/lib/{version}/pip")
        for link, target in {"python": version, "python3": version}.items():
            entry = tarfile.TarInfo(f"/usr/local/bin/{link}")
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
        folder = tarfile.TarInfo("/tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(folder)
    return made.getvalue()


def _wanted(entry):
    return None if _ABSENT & set(Path(entry.name).parts) or "/config-" in entry.name else entry


def _libraries(files):
    """Return the shared libraries of the system that *files* need, by the path where the loader looks for them."""
    done = subprocess.run(["ldd", *map(str, files)], capture_output=True, text=True, check=False)
    found = {}
    for path in re.findall(r"^\s.*?(/\S+) \(0x", done.stdout, re.MULTILINE):
        inside = Path(path).is_relative_to(sys.base_prefix) and sys.base_prefix != "/usr"
        name = f"/usr/local/{Path(path).relative_to(sys.base_prefix)}" if inside else path
        if not Path(path).is_relative_to(sys.prefix):  # wheels carry theirs
            found[name] = Path(path)
    return found


def wheels(folder):
    """Make wheels of our package and all that it needs, of what is installed here; return a locked list with hashes."""
    folder.mkdir()
    for name in sorted(_needed(Requirement(PACKAGE))):
        if name != "tasker-health":
            _packed(importlib.metadata.distribution(name), folder)
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True, timeout=PATIENCE_SECONDS)
    lines = []
    for wheel in sorted(folder.iterdir()):
        name, version = wheel.name.split("-")[:2]
        lines.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    return "".join(lines)


def _needed(requirement, found=None):
    """Return the names of all distributions that *requirement* asks for, on this machine."""
    found = {} if found is None else found
    asked = found.setdefault(requirement.name.lower().replace("_", "-"), set())
    extras = {""} | requirement.extras
    if extras <= asked:
        return found
    asked |= extras
    for line in importlib.metadata.requires(requirement.name) or []:
        next_one = Requirement(line)
        if any(next_one.marker is None or next_one.marker.evaluate({"extra": extra}) for extra in extras):
            _needed(next_one, found)
    return found


def _packed(distribution, folder):
    """Pack *distribution* as the wheel that it was."""
    tags = re.findall(r"^Tag: (\S+)$", distribution.read_text("WHEEL"), re.MULTILINE)
    name = re.sub(r"[-_.]+", "_", distribution.metadata["Name"])
    record = []
    with zipfile.ZipFile(folder / f"{name}-{distribution.version}-{tags[-1]}.whl", "w") as wheel:
        for file in distribution.files:
            if ".." in file.parts or "__pycache__" in file.parts:
                continue
            if file.parts[0].endswith(".dist-info"):
                information = file.parts[0]
                if file.name in _OF_THE_INSTALLER:
                    continue
            wheel.write(file.locate(), str(file))
            record.append(f'"{file}",,\n')
        rows = "".join([*record, f"{information}/RECORD,,\n"])
        wheel.writestr(zipfile.ZipInfo(f"{information}/RECORD"), rows)  # without the time: the same wheel each time
