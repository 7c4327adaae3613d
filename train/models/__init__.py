"""The models that `--model` names: baselines, and models from outside.

`registry` is the one list of them. `layers` are LSTM and GRU alone; `stack_rnn` and
`tape_rnn` are cells with a memory; `over_time` makes a model of any cell of Flax.
"""
