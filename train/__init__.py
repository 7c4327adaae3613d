"""The workshop: trains a machine on a task, evaluates it and draws what it does."""

from . import starting

starting.prepare()
starting.check_packages()
