"""The guard: a small process that answers probes when the application cannot.

`memory` is shared by both sides. `process` and what it imports is the guard itself: standard library only. `owner`
and `heartbeat` are the application's side: they start the guard, say that the application is alive, and publish its
latest reports. No credential reaches the guard, and it forwards nothing.
"""
