"""The demo: an order shop on DBOS, several processes of which may share one PostgreSQL.

`orders` says what will happen to an order, `workflow` does it, `ledger` is what the shop itself writes down, `slots`
gives each process a name that outlives it, `place` is where all of that is kept, `shop` runs it, and `figures` shows
it on the console. Whoever kills it loses nothing: every order is a row of DBOS before anybody works on it.
"""
