"""What a request is answered with if it cannot have what it asks for."""


class RefusedError(Exception):
    """One clear line and a status of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def missing(message: str) -> RefusedError:
    """Something that is not there."""
    return RefusedError(404, message)


def wrong(message: str) -> RefusedError:
    """A value of the request that cannot be."""
    return RefusedError(400, message)


def damaged(message: str) -> RefusedError:
    """A file of the run that does not hold what it should."""
    return RefusedError(500, message)


def not_yet(message: str) -> RefusedError:
    """Something that is being made."""
    return RefusedError(503, message)
