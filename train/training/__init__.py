"""Training: the model, the compiled updates, how hard sequences are, how well it does.

Of `train.runs` it knows the config alone.
"""
