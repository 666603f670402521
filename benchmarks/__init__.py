"""The benchmark: this proxy beside others, in front of an upstream in C, driven by a load in C.

`python -m benchmarks --help` says how. Not here: tests of what the proxy does (`tests/`). Nothing
of this is installed with the program, and no test measures a time.
"""
