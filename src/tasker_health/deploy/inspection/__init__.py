"""What is wrong in manifests that exist, for the service of the settings in force. Nothing is changed, nobody is asked.

The contract. A reader (`kubernetes`, `compose`, `dockerfile`, `haproxy`, `nginx`, `systemd`) turns one text into facts:
a `Workload` with its containers, or a `Balancer` with its servers, and each fact knows the line that it stands in. It
judges nothing and bounds what it reads. A rule turns one fact and the `Service` into faults: it knows no format. What
a manifest does not say is what its software does by default, never what we would like.

To add a format, write a reader and its line in `reading.READERS`; to add a rule, a function in one of the files of
rules and its row in `faults.RULES` and docs/deploy/check.md.
"""
