"""Certificates: proofs that a trained machine does its task, for every input.

`search` finds an invariant of a machine and `check` proves that it is one. They share
the statement (`plan`), the weights (`machine`) and the file (`certificate`), but no
arithmetic: the search may be wrong, and the check then says so.
"""
