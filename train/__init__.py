"""The workshop: trains a machine on a task, evaluates it and draws what it does."""

from train import starting

starting.prepare()
