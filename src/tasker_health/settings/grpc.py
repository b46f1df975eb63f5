"""Settings of health over gRPC."""

from __future__ import annotations

from pydantic import Field

from tasker_health.settings.kinds import Group, Port


class GrpcSettings(Group):
    """Health over gRPC (`grpc.health.v1`), at a port of its own, without TLS."""

    enabled: bool = Field(False, description="Serve it.")
    host: str | None = Field(None, min_length=1, description="Address to listen on; unset means that of the server.")
    port: Port = Field(50051, description="Port to listen on; 0 takes a free one and logs it.")
