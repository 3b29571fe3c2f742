"""`Job`: which training of an experiment is meant."""

from dataclasses import dataclass

TICKET = "ticket"
# The variant of a training that only searches for masks.
SEARCH = "search"


@dataclass(frozen=True, order=True)
class Job:
    """One training: a variant of a round of a replicate.

    Attributes:
        replicate: from 0.
        round: from 0, the dense network.
        variant: the ticket, a control, or a search for masks.
    """

    replicate: int
    round: int
    variant: str = TICKET

    def __str__(self) -> str:
        return f"replicate {self.replicate}, round {self.round}, {self.variant}"
