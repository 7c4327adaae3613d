"""How far float32, as the machine computes, is from exact numbers.

What is assumed of it, and the only thing:

- A sum, product, quotient or square root is wrong by at most 2^-24 of itself (fused
  operations by less), and a sum of n terms, in any order, by what follows from that.
- tanh, sigmoid, softplus, exp, log and rsqrt are wrong by at most 2^-20 of the result;
  tanh also by no more than 2^-20 in all, and log where it is near 0.
"""

import numpy as np

UNIT = 2.0**-24
FUNCTION = 2.0**-20
# Of a few functions and a dozen operations after one another.
FEW = 2.0**-16
# What is computed here in float64 without bounds is multiplied by it.
SAFE = 1 + 2.0**-30


def of_sum(terms: int) -> float:
    """The error of a sum of that many products, relative to their sizes."""
    return SAFE * terms * UNIT / (1 - terms * UNIT)


def of_memory(steps: int, largest: float) -> float:
    """The error of a slot's entry after so many writes, M (1 - w e) + w a.

    Of one write: 4 units of |M|, and 2 of w |a|, which is about 1 in all.
    """
    return SAFE * UNIT * (4 * steps * largest + 4)


def of_read(num_slots: int, largest: float) -> float:
    """The error of Σ_i w(i) M(i), and of the sum of the weights, which should be 1."""
    return SAFE * 2 * largest * of_sum(num_slots + 8)


def of_sharpening(gamma: float, num_slots: int) -> float:
    """The factor by which a weight can be too large after eq. 9.

    The weight is exp(γ log x) over a sum of N terms. x is at least 1e-30, so that the
    logarithm is at most 70 in size, and all that is wrong with it, γ times.
    """
    exponent = gamma * 80 * (FUNCTION + 4 * UNIT)
    return SAFE * float(np.exp(exponent)) * (1 + of_sum(num_slots)) * (1 + FEW)
