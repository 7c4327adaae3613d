"""The benchmark of Delétang et al. 2023, `python -m benchmarks.chomsky`.

*Neural Networks and the Chomsky Hierarchy*, arXiv:2207.02098. Networks learn from
strings of 1 to 40 symbols and are evaluated on strings of 41 to 500, on fifteen tasks
from regular to context-sensitive languages.
"""
