"""`Ticket`: masks, rewind weights and the recipe that trains them; the thing that an experiment finds."""

from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.pruning import masks as mask_tools
from tf_lottery.pruning.masks import Masks
from tf_lottery.results.statistics.values import number
from tf_lottery.results.tables.formats import count, density_percent, percent
from tf_lottery.results.ticket_content import GROUPS, SCHEMA, array_group, check_headers, read_recipe
from tf_lottery.utils import html
from tf_lottery.utils.files import damaged, dump_arrays, json_text, load_arrays, reading, write_bytes


@dataclass(frozen=True, eq=False)
class Ticket:
    """A sparse subnetwork and how to train it.

    Attributes:
        masks: boolean arrays keyed by weight path; True keeps.
        rewind_weights: every variable of the model at the rewind point, keyed by path; pruned weights are exactly 0.0.
        trained_weights: every variable after the ticket's training, keyed by path; may be empty.
        recipe: how it was obtained and is trained: configuration, round, replicate, steps, results; `architecture` is
            the plain model's, as Keras writes it.
    """

    masks: Masks
    rewind_weights: dict[str, np.ndarray]
    trained_weights: dict[str, np.ndarray] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        kept, total = mask_tools.kept(self.masks), mask_tools.total(self.masks)
        parts = [f"{kept:,} of {total:,} weights ({density_percent(self.density)} %)"]
        if self.round is not None:
            parts.insert(0, f"round {self.round} of replicate {self.replicate}")
        if self.val_accuracy is not None:
            parts.append(f"validation accuracy {percent(self.val_accuracy)}")
        return f"<Ticket: {', '.join(parts)}>"

    def _repr_html_(self) -> str:
        """Return the ticket as a notebook shows it: what it reached, and the density of each weight array."""
        rows = [
            (path, "x".join(map(str, mask.shape)), count(int(mask.sum())), f"{density_percent(float(mask.mean()))} %")
            for path, mask in self.masks.items()
        ]
        return html.table(("Weights", "Shape", "Kept", "Weights left"), rows, caption=repr(self)[1:-1])

    @property
    def round(self) -> int | None:
        """The round that it was found in; None where its recipe does not name it."""
        return self.recipe.get("round")

    @property
    def replicate(self) -> int | None:
        """The replicate that it was found in; None where its recipe does not name it."""
        return self.recipe.get("replicate")

    @property
    def row(self) -> dict[str, Any]:
        """Its result row, with the columns of `results.csv`; {} where its recipe has none."""
        return self.recipe.get("row") or {}

    @property
    def val_accuracy(self) -> float | None:
        """The validation accuracy after its training, a fraction; None where it was not measured."""
        return number(self.row.get("val_accuracy"))

    @property
    def test_accuracy(self) -> float | None:
        """The test accuracy after its training, a fraction; None where it was not measured."""
        return number(self.row.get("test_accuracy"))

    @property
    def density(self) -> float:
        """Weights kept / weights in all, of the maskable ones."""
        return mask_tools.density(self.masks)

    def apply(self, model: Any, *, trained: bool = False, in_place: bool = False) -> Any:
        """A wrapped copy of a model that holds the ticket, ready to train in `fit` or any loop.

        Args:
            model: a plain model of the ticket's architecture, from any build of it.
            trained: take the trained weights instead of the rewind weights.
            in_place: share the variables with `model`, as in `wrap`; its weights become the ticket's.

        Raises:
            UnfitError: the model's weights do not fit the ticket's.
            UsageError: the ticket has no trained weights.
        """
        from tf_lottery.layers import named_variables, set_masks, set_weights, wrap
        from tf_lottery.layers.acceptance import check_model

        weights = self.trained_weights if trained else self.rewind_weights
        if not weights:
            kind = "trained" if trained else "rewind"
            raise UsageError(f"The ticket has no {kind} weights.", f"Take the others: `trained={not trained}`.")
        check_model(model, subclassed=True)
        mask_tools.check_keys(weights, named_variables(model), what="ticket")
        wrapped = wrap(model, include=lambda path, variable: path in self.masks, in_place=in_place)
        set_weights(wrapped, weights)
        set_masks(wrapped, self.masks)
        return wrapped

    def model(self, *, trained: bool = True, sparse: bool = False) -> Any:
        """The Keras model of the ticket, made from its recipe: a plain one, where pruned weights are exactly 0.0.

        Args:
            trained: take the trained weights; otherwise the rewind weights.
            sparse: let its dense layers hold and compute with the kept weights alone, as `sparsify` does: for `predict`
                and `evaluate` by the sparse kernels.

        Raises:
            UsageError: the recipe has no architecture, there are no trained weights, or `sparse` and no layer would
                compute by the kernels.
            UnfitError: the architecture has code of the caller's own, which no recipe holds, or is not the weights'.
        """
        from tf_lottery.layers import model_from_architecture, strip
        from tf_lottery.layers.sparse import sparsify

        if "architecture" not in self.recipe:
            raise UsageError("The ticket's recipe has no architecture.", "Use `apply(model)` with a model of your own.")
        try:
            weights = self.trained_weights if trained else self.rewind_weights
            size = sum(array.nbytes for array in weights.values())
            plain = model_from_architecture(self.recipe["architecture"], weights_bytes=size)
        except UnfitError as error:
            raise UnfitError(
                error.cause, f"Make it yourself: `strip(ticket.apply(model, trained=True))`. {error.remedy}"
            ) from error
        wrapped = self.apply(plain, trained=trained)
        return sparsify(wrapped) if sparse else strip(wrapped)

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the ticket as one portable `.npz` file, without pickle; a CRC guards its content.

        Raises:
            UsageError: the name does not end in .npz.
            ResourceError: it can't be written.
        """
        path = Path(path)
        if path.suffix != ".npz":
            raise UsageError(f"A ticket's file ends in .npz. Received: {path}.", "Rename it.")
        recipe = np.frombuffer(json_text({"schema": SCHEMA, **self.recipe}).encode(), np.uint8)
        groups = {"masks": self.masks, "rewind": self.rewind_weights, "trained": self.trained_weights}
        arrays = {f"{group}/{key}": array for group, content in groups.items() for key, array in content.items()}
        write_bytes(path, dump_arrays({"recipe": recipe, **arrays}, compressed=True))
        return path


def load_ticket(path: str | PathLike[str]) -> Ticket:
    """Read a ticket's file.

    Raises:
        UsageError: there is no such file.
        DamagedError: it is truncated, altered, not a ticket, or holds far more than its size.
        ResourceError: it may not be read, or its arrays do not fit in memory.
    """
    path = Path(path)
    with reading(path, kind="ticket"):
        exists, is_folder = path.exists(), path.is_dir()
    if is_folder or not exists:
        cause = f"{path} is a folder, not a ticket." if is_folder else f"There is no ticket {path}."
        raise UsageError(cause, "Give the path of an .npz file that `Ticket.save` wrote.")
    arrays = load_arrays(path, check_headers)
    try:
        recipe = read_recipe(arrays.pop("recipe").tobytes())
    except ValueError as error:
        raise damaged(path, f"it is not a ticket ({error})") from error
    masks, rewind_weights, trained_weights = (array_group(arrays, name) for name in GROUPS)
    return Ticket(masks, rewind_weights, trained_weights, recipe)
