"""The room of the web: endpoints decide, skins carry.

`endpoints` makes every decision (method, path, who asks, code, headers) and knows no framework. A skin (`asgi`)
turns its protocol's request into a `Request` and an `Answer` back into its protocol; it decides nothing. A new
skin is one thin file, and takes its place in the suite that all skins pass.
"""
