"""The scores that Delétang et al. 2023 report, in per cent.

They are those of table 2 of arXiv:2207.02098 as remembered, and not checked against the
paper: the best of ten seeds and of several settings, after up to a million updates with
128 sequences each. The Tape-RNN there has a move by the length of the input.
"""

LEARNERS = ("RNN", "stack RNN", "Tape-RNN", "Transformer", "LSTM")
SCORES: dict[str, tuple[float, ...]] = {
    "even_pairs": (100, 100, 100, 96.4, 100),
    "modular_arithmetic_simple": (100, 100, 100, 24.2, 100),
    "parity": (100, 100, 100, 52, 100),
    "cycle_navigation": (100, 100, 100, 61.9, 100),
    "stack_manipulation": (56, 100, 100, 57.5, 59.1),
    "reverse_string": (62, 100, 100, 62.3, 60.9),
    "modular_arithmetic": (41.3, 96.1, 95.4, 32.5, 59.2),
    "solve_equation": (51, 56.2, 64.4, 25.7, 67.8),
    "duplicate_string": (50.3, 52.8, 100, 52.8, 57.6),
    "missing_duplicate": (52.3, 55.2, 100, 56.4, 54.3),
    "odds_first": (51, 51.9, 100, 52.8, 55.6),
    "binary_addition": (50.3, 52.7, 100, 54.3, 55.5),
    "binary_multiplication": (50, 52.7, 58.5, 52.2, 53.1),
    "compute_sqrt": (54.3, 56.5, 57.8, 52.4, 57.5),
    "bucket_sort": (27.9, 78.1, 70.7, 91.9, 99.3),
}
