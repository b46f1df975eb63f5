"""hypercorn with the trigger of docs/frameworks/servers.md: unready first, stopped a little later."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from beside import PATIENCE_SECONDS, Beside, settings
from frameworks.exchange import Connection
from server import free_port

PAGE = Path(__file__).parents[2] / "docs" / "frameworks" / "servers.md"


def test_the_trigger_of_the_page_drains(tmp_path):
    """After SIGTERM the guard says `draining`, and requests are answered until the server ends."""
    guard, port = Beside(free_port()), free_port()
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    program = tmp_path / "program.py"
    program.write_text(f"{block.replace('8000', str(port))}\n\nasyncio.run(main())\n")
    variables = settings(guard, TASKER_GUARD__ENABLED="true", TASKER_SERVER__DRAIN_SECONDS="2")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
    process = subprocess.Popen([sys.executable, program], env={**clean, **variables})
    try:
        guard.becomes("ready", 200)
        process.send_signal(signal.SIGTERM)
        guard.becomes("ready", 503, '"reason":"draining"')
        connection = Connection(port)
        assert connection.ask("GET", "/orders").body == b"orders"
        connection.close()
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
