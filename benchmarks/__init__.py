"""Benchmarks: envbuild beside its peers, in one run, on one machine. `benchmarks/run` is the command.

`measuring` takes turns and `telling` puts the numbers in a table; `place` is where it all happens. Each of the
other modules is one section of the tables, with its question in its docstring.
"""
