"""The folder `tasks` of a checkout. In a wheel, that folder is here."""

from typing import TYPE_CHECKING

from ntm_jax.checkout import stand_in

if TYPE_CHECKING:
    from tasks import *  # noqa: F403

stand_in(__name__)
