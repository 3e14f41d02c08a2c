"""The one error of the lab: a sentence that a person can act on. Knows nothing else."""


class LabError(Exception):
    """Its text is printed as it is."""
