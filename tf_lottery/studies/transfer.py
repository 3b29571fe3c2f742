"""The study `transfer`: a ticket of another run against the native ticket, and against new weights in its masks."""

from collections.abc import Iterable, Mapping

from tf_lottery.errors import UnfitError
from tf_lottery.experiment.directory import TICKET, Job
from tf_lottery.pruning.masks import Masks
from tf_lottery.results.statistics.intervals import LEAST, interval, pair_by_replicate
from tf_lottery.results.statistics.values import spread
from tf_lottery.results.tables.formats import density_percent, percent, points
from tf_lottery.studies.study_figures import plot_by_density, values_by_x
from tf_lottery.studies.study_outcome import Rows, StudyOutcome, average_replicates, mean_of_column
from tf_lottery.studies.study_run import StudyRun

TRANSFERRED, NATIVE, REDRAWN = "transferred ticket", "native ticket", "transferred masks, new weights"
# Densities count as equal up to this relative difference.
EQUAL = 0.01
COLUMNS = ("test_accuracy", "val_accuracy", "early_stop_step")


def study(run: StudyRun, *, other: StudyRun | None = None) -> StudyOutcome:
    """Return accuracy by density of a transferred ticket, a native one, and the transferred masks with new weights.

    Morcos et al. (2019, arXiv 1906.02773) ask in this way how much of a ticket belongs to its data. The weights count
    where the transferred ticket beats its masks with new weights; the data counts where the native ticket beats it.

    Args:
        run: the run to study, with `tickets_from`: it trained the tickets of another run.
        other: the native run: the same model on the data of `run`, with its own tickets.

    Raises:
        UnfitError: the run has no transferred tickets, or the runs are not of one model and one data set, or prune to
            other densities.
    """
    if not run.config.tickets_from:
        raise UnfitError(
            f"{run.path} found its own tickets: nothing was transferred.",
            "Make a run that trains the tickets of another one: pass that run as `tickets_from`.",
        )
    controls = run.controls(among=("random_reinit",))
    rows = _rows(run, {TICKET: TRANSFERRED, **({"random_reinit": REDRAWN} if controls else {})})
    if other is not None:
        check_comparable(run, other)
        rows += _rows(other, {TICKET: NATIVE})
    kinds = [kind for kind in (TRANSFERRED, NATIVE, REDRAWN) if any(row["kind"] == kind for row in rows)]
    column = "test_accuracy" if any(row["test_accuracy"] is not None for row in rows) else "val_accuracy"
    rows.sort(key=lambda row: (row["round"], kinds.index(row["kind"]), row["replicate"]))
    lines = {kind: values_by_x(rows, x="density", y=column, kind=kind) for kind in kinds}
    return StudyOutcome(
        tables={
            "transfer": average_replicates(rows, by=("round", "kind", "density"), of=COLUMNS),
            "transfer_by_replicate": rows,
        },
        figures={
            "transfer": plot_by_density(
                lines,
                title="Transferred tickets, by density",
                ylabel=column.replace("test_", "test ").replace("val_", "validation ").capitalize(),
                percent=True,
            )
        },
        sentences=[
            f"The tickets come from {run.config.tickets_from}.",
            *_sentences(rows, column, kinds),
        ],
    )


def check_comparable(run: StudyRun, native: StudyRun) -> None:
    """Check that two runs trained one model on one data set to equal densities, and the second its own tickets.

    Args:
        run: the run with transferred tickets.
        native: the run with its own tickets.

    Raises:
        UnfitError: the runs can't be compared.
    """
    shapes = [_shapes(either.masks(Job(either.replicates[0], either.rounds[0]))) for either in (run, native)]
    if shapes[0] != shapes[1]:
        unlike = sorted(key for key in {*shapes[0], *shapes[1]} if shapes[0].get(key) != shapes[1].get(key))
        raise UnfitError(
            f"{run.path} and {native.path} are of different models: {unlike[0]} has shape "
            f"{shapes[0].get(unlike[0], 'none')} and {shapes[1].get(unlike[0], 'none')}.",
            "Compare with a native run of the same model.",
        )
    if native.config.tickets_from:
        raise UnfitError(f"{native.path} has transferred tickets, too.", "Name a run that found its own.")
    configs = run.config, native.config
    data = [(config.dataset, config.classes, config.normalization) for config in configs]
    if data[0] != data[1]:
        raise UnfitError(
            f"{run.path} is of the data {data[0]} and {native.path} of {data[1]}.",
            "The native run must be of the same data set and classes.",
        )
    ours, theirs = (either.store.data_fingerprint() for either in (run, native))
    if ours and theirs and ours != theirs:
        raise UnfitError(
            f"The content of the data {run.config.dataset!r} differs: {run.path} has the fingerprint {ours[:10]}, "
            f"{native.path} {theirs[:10]}.",
            "The native run must be of the same data.",
        )
    for number in sorted({*run.rounds} & {*native.rounds}):
        density, wanted = native.density(number), run.density(number)
        if abs(density - wanted) > EQUAL * wanted:
            raise UnfitError(
                f"Round {number} keeps {density_percent(wanted)} % of the weights in {run.path} and "
                f"{density_percent(density)} % in {native.path}: only equal densities are compared.",
                "Prune the native run as the run was whose tickets were transferred, or choose `rounds` of equal "
                "density.",
            )


def _shapes(masks: Masks) -> dict[str, tuple[int, ...]]:
    return {key: mask.shape for key, mask in masks.items()}


def _rows(run: StudyRun, kinds: Mapping[str, str]) -> Rows:
    """Rows of some variants of a run, at the mean density of the round's tickets."""
    densities = run.densities()
    return [
        {
            "replicate": row["replicate"],
            "round": row["round"],
            "kind": kinds[row["variant"]],
            "density": densities[row["round"]],
            **{name: row.get(name) for name in COLUMNS},
        }
        for row in run.rows()
        if row["variant"] in kinds
    ]


def _difference(ours: Rows, theirs: Rows, column: str, kind: str) -> Iterable[str]:
    """How the transferred ticket differs from another kind, over pairs of replicates, in words."""
    differences, _ = pair_by_replicate(ours, theirs, column)
    gain = spread(differences.values())
    if gain is None:
        return
    size = f"{points(gain.mean)} {'above' if gain.mean > 0 else 'below'}" if gain.mean else "level with"
    certainty = f"too few replicates for an interval: {gain.count}"
    if gain.count >= LEAST:
        over = interval(differences.values())
        certainty = f"95 % interval of the difference {100 * over.low:.2f} to {100 * over.high:.2f} points"
    yield f"The transferred ticket is {size} the {kind} ({certainty})."


def _sentences(rows: Rows, column: str, kinds: list[str]) -> Iterable[str]:
    last = max(row["round"] for row in rows if row["kind"] == TRANSFERRED)
    means = {kind: mean_of_column(rows, column, round=last, kind=kind) for kind in kinds}
    density = mean_of_column(rows, "density", round=last, kind=TRANSFERRED) or 0.0
    accuracies = ", ".join(f"{kind} {percent(value)}" for kind, value in means.items() if value is not None)
    yield f"At {density_percent(density)} % of the weights (round {last}): {accuracies}."
    for kind in kinds[1:]:
        ours, theirs = ([row for row in rows if row["round"] == last and row["kind"] == k] for k in (TRANSFERRED, kind))
        yield from _difference(ours, theirs, column, kind.replace("masks, new", "masks with new"))
    if NATIVE not in kinds:
        yield "Name the native run as a second one, to see what the other data costs."
