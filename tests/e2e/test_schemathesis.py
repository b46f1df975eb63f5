"""schemathesis, against the OpenAPI document that the server itself serves."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from served import served

SCHEMATHESIS = str(Path(sys.executable).parent / "schemathesis")


def test_schemathesis_finds_nothing(tmp_path):
    """Every answer to generated requests, valid and not, is as the document says."""
    file = tmp_path / "app.sqlite"
    sqlite3.connect(file).close()
    with served(TASKER_DATABASE__URL=f"sqlite:///{file}") as server:
        document = f"{server.url.removesuffix('/health')}/openapi.json"
        done = subprocess.run(
            [SCHEMATHESIS, "run", document, "--max-examples=40", "--workers=1", "--no-color", "--seed=1"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONWARNINGS": "default"},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "generated" in done.stdout
