"""The errors of the lab: sentences that a person can act on. Knows nothing else."""


class LabError(Exception):
    """Its text is printed as it is."""


class CommandFailedError(LabError):
    """A command that ended with another code than 0. `said` is what it printed to standard error, or that code."""

    def __init__(self, typed: str, said: str) -> None:
        super().__init__(f"`{typed}` failed: {said}")
        self.said = said
