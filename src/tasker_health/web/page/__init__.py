"""The room of the page: the status for people, as HTML from this server alone.

* Everything is rendered on the server, once for all who get the same; the script only fetches it again.
* Whatever is shown goes through `markup.escaped`; there is no other way into the markup.
* The policy of the page permits our own style sheet and our own script, by their digests, and questions to this server.
* Without a script everything is there, and is fetched anew by the browser itself.
* Rendering lets others have their turn between its pieces: a page must not hold up a probe.
"""
