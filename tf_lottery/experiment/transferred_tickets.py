"""Tickets of another run, trained here: which run they come from, and whether they fit."""

import hashlib
from typing import Any

import numpy as np

from tf_lottery.errors import DamagedError, UnfitError, UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job, RunReader
from tf_lottery.pruning import masks as mask_tools
from tf_lottery.pruning.masks import Masks


def tickets_hash(store: RunReader) -> str:
    """Return a hash of where tickets come from: the configuration of their run and its first rewind weights.

    Raises:
        UsageError: it is not a run, or its first round is not there.
    """
    document = store.document()
    if not store.has_rewind_state(0):
        raise UsageError(f"{store.path} has no rewind weights yet.", "Finish its round 0 first.")
    digest = store.rewind_digest(0)
    return hashlib.sha256(f"{document.get('hash')} {digest}".encode()).hexdigest()[:16]


def transferred(store: RunReader) -> dict[str, Any]:
    """The configuration, as JSON values, of a run that trains the tickets of another one; data and the like may differ.

    Raises:
        UsageError: it is not a run, or its first round is not there.
    """
    config = store.config()
    if config.search_steps is not None:
        raise UsageError(
            f"{store.path} found its masks in short searches: it has no ticket for each round.",
            "Take the tickets of a run without `search_steps`.",
        )
    here = {"preset": f"{config.preset}-transfer", "tickets_from": str(store.path.resolve())}
    here["tickets_hash"] = tickets_hash(store)
    return config.to_json() | here | {"pruning": "iterative", "search_steps": None, "rewind": "init"}


class TicketSource:
    """The run that tickets are taken from.

    Args:
        config: the experiment that trains them; `tickets_from` and `tickets_hash` identify the run.
        dense: masks that keep everything, of the model that is trained.

    Raises:
        UsageError: there is no such run.
        DamagedError: it is another run than when this one was started.
    """

    def __init__(self, config: Config, dense: Masks) -> None:
        self.store = RunReader(str(config.tickets_from))
        self.shapes = {key: mask.shape for key, mask in dense.items()}
        if tickets_hash(self.store) != config.tickets_hash:
            raise DamagedError(
                f"{self.store.path} is not the run that tickets were taken from before.",
                "Give the folder of that run, or start over with `fresh=True`.",
            )
        # What is missing or of another shape is reported before anything is trained.
        for replicate in range(config.replicates):
            for number in range(config.rounds + 1):
                self.masks(Job(replicate, number))

    def masks(self, job: Job) -> Masks:
        """The masks of the source's ticket of the same replicate and round.

        Raises:
            UsageError: the source has no such round.
            UnfitError: its model is of another shape.
        """
        ticket = Job(job.replicate, job.round)
        if not self.store.is_complete(ticket):
            raise UsageError(
                f"{self.store.path} has no {ticket}, whose ticket is to be trained.",
                "Finish that run first, or ask for fewer rounds and replicates.",
            )
        try:
            return mask_tools.validate(self.store.masks(ticket), self.shapes, what=f"tickets of {self.store.path}")
        except UnfitError as error:
            raise UnfitError(
                error.cause, "A ticket can be trained on data and in a model of the same shape only."
            ) from error

    def weights(self, replicate: int) -> dict[str, np.ndarray]:
        """Every variable at the source's rewind point, by path."""
        return self.store.rewind_weights(replicate)
