"""The demo: an order shop on DBOS."""
