"""Access to a few slots of the memory: a step costs the same for any number of slots.

A weighting is held as K slots with their weights, and a rest that is spread evenly over
all other slots.

* `kinds`: such weightings, and which slots are kept: a window, or the largest weights.
* `rows`: rows of the memory, taken out and put back in place, also in reverse.
* `many`: the largest of many weights, and the place of a slot among many.
* `reach`: the weighting that shifts from kept slots to those near them.
* `bounds`: how far content can move a weighting at most, without looking at it.
* `search`: the slots to keep, from those near the kept ones or from all.
* `find`: which of these a step needs.
* `address`: the slots and weights of a step, with gradients.
* `access`: one step of all heads; `through_time`: many steps; `start`: the first state.
"""
