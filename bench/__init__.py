"""The benchmarks of `./dev bench`: each a ratio or a time measured in one run, with its goal beside it.

A benchmark is no test: it always exits with 0 and says which goals were reached. One table one file; a new one is a
file with a `measure` that answers a `Table`, and its name in `TABLES` of `__main__`.
"""
