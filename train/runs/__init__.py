"""Runs: what a run is asked for, its folder and checkpoints, and what came of it."""
