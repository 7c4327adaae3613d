"""What we claim, as commands."""

import train  # which prepares a command  # noqa: F401
