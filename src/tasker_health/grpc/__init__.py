"""Health over gRPC: `grpc.health.v1`, the protocol of the kubelet's `grpc:` probes, of Envoy and of gRPC's own clients.

The road of one call: `servicer` (the protocol: methods, codes) -> `services` (which name stands for what) -> `monitor`.
`watchers` looks for those who watch, and only while somebody does. `server` listens; `endpoint` is what `Health` holds,
and imports grpcio no earlier than it is started. The rules of the room:

* It knows nothing that HTTP does not: every answer is the monitor's, as old as that allows and within its deadline.
* It says well or not well, and never why. It asks nobody who he is, as `live` and `ready` do not.
* grpcio's objects are made after a fork, never before it, and are never used by two processes.
"""
