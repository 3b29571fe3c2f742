"""What the verdicts on a model's operations come to: zeros, bytes, where the arithmetic runs, what to do."""

from collections.abc import Mapping, Sequence

import numpy as np

from tf_lottery.diagnosis.operations import Operation
from tf_lottery.diagnosis.processor import Processor
from tf_lottery.diagnosis.rules import ENCODED, percent, zeros_in_blocks
from tf_lottery.diagnosis.verdicts import BLOCKS, DENSIFIED, SPARSE, SPARSE_ON_ARM, Verdict
from tf_lottery.slimming import SlimReport

# Advice is given for what takes at least this share of the multiplications.
_RELEVANT = 0.2


def multiplications(operation: Operation) -> int:
    """How many multiplications with weights the operation takes for one sample, zeros included.

    Example:
        >>> multiplications(Operation(0, "CONV_2D", output_shape=(1, 4, 4, 8), weights=np.zeros((8, 3, 3, 2))))
        2304
    """
    if operation.weights is None or operation.kind not in ENCODED | {"CONV_3D"}:
        return 0
    batchless = operation.input_shape if operation.kind == "TRANSPOSE_CONV" else operation.output_shape
    places = int(np.prod(batchless[1:-1])) if len(batchless) > 2 else 1
    return places * operation.weights.size


def slimming(report: SlimReport) -> str:
    """What removing dead units and channels would leave."""
    if report.parameters_after >= report.parameters_before:
        return "Slimming: nothing to remove, no unit or channel is dead."
    units = sum(layer.units_before for layer in report.layers)
    return (
        f"Slimming: {report.removed:,} of {units:,} units and channels are dead; without them "
        f"{report.parameters_after:,} of {report.parameters_before:,} parameters are left, and the "
        "model is smaller and faster on any machine (`tf-lottery export` offers it)."
    )


def sentences(
    operations: Sequence[Operation],
    verdicts: Sequence[Verdict],
    machine: Processor,
    *,
    sizes: Mapping[str, int],
    taken: set[int] | None,
    trouble: str = "",
    slimmed: SlimReport | None = None,
) -> list[str]:
    """The summary.

    Args:
        operations, verdicts: in equal order.
        machine: where the model is to run.
        sizes: bytes of the file, "dense" and "sparse", or "as it is".
        taken: positions of operations in the main graph that the default delegate takes; None: not known.
        trouble: why the interpreter did not load the file.
        slimmed: what slimming would remove, of a Keras model.
    """
    pairs = list(zip(operations, verdicts, strict=True))
    lines = [_zeros(operations), _bytes(sizes)]
    lines.append(_arithmetic(pairs, machine))
    main = [each for each in operations if not each.subgraph]
    if trouble:
        lines.append(f"The default LiteRT interpreter does not load the file: {trouble}")
    elif taken is not None:
        count = sum(each.position in taken for each in main)
        own = any(verdict.kind == SPARSE for _, verdict in pairs)
        aside = "; sparse kernels of dense layers are LiteRT's own, outside of it" if own else ""
        lines.append(f"Delegate: the default one takes {count} of {len(main)} operations here{aside}.")
    if slimmed is not None:
        lines.append(slimming(slimmed))
    return [*lines, *_recommendations(pairs, machine)]


def _zeros(operations: Sequence[Operation]) -> str:
    weights = [each.weights for each in operations if each.weights is not None]
    total = sum(array.size for array in weights)
    if not total:
        return "Zeros: no operation has weights."
    none = sum(int((array == 0).sum()) for array in weights)
    blocks = {
        size: sum(
            (zeros_in_blocks(each, size) or 0) * each.weights.size for each in operations if each.weights is not None
        )
        for size in (4, 16)
    }
    return (
        f"Zeros: {percent(none / total)} of {total:,} weights; {percent(blocks[4] / total)} in whole 1x4 blocks, "
        f"{percent(blocks[16] / total)} in 1x16."
    )


def _bytes(sizes: Mapping[str, int]) -> str:
    if "dense" not in sizes:
        return f"Disk: {sizes['as it is']:,} bytes."
    dense, sparse = sizes["dense"], sizes["sparse"]
    share = percent(sparse / dense)
    return f"Disk: float32 TFLite takes {dense:,} bytes dense, {sparse:,} with sparse encoding ({share})."


def _arithmetic(pairs: Sequence[tuple[Operation, Verdict]], machine: Processor) -> str:
    total = sum(multiplications(each) for each, _ in pairs)
    if not total:
        return "Speed: no operation multiplies with weights."
    always = sum(multiplications(each) for each, verdict in pairs if verdict.kind == SPARSE)
    on_arm = always + sum(multiplications(each) for each, verdict in pairs if verdict.kind == SPARSE_ON_ARM)
    here = on_arm if machine.sparse_convolutions else always
    line = f"Speed: {percent(here / total)} of the multiplications are on sparse kernels here ({machine.name})"
    return f"{line}, {percent(on_arm / total)} on ARM." if not machine.name.startswith("ARM") else f"{line}."


def _recommendations(pairs: Sequence[tuple[Operation, Verdict]], machine: Processor) -> list[str]:
    kinds = {verdict.kind for _, verdict in pairs}
    lines = []
    total = sum(multiplications(each) for each, _ in pairs) or 1
    densified = [each for each, verdict in pairs if verdict.kind == DENSIFIED]
    convolutions = sum(multiplications(each) for each in densified if each.kind != "FULLY_CONNECTED")
    dense_layers = sum(
        multiplications(each)
        for each, verdict in pairs
        if each.kind == "FULLY_CONNECTED" and any("--granularity" in finding.advice for finding in verdict.findings)
    )
    if dense_layers > _RELEVANT * total:
        lines.append(
            "Recommended: a ticket of --granularity 1x4 in float32 for fast dense layers; int8 for the smallest file."
        )
    if convolutions > _RELEVANT * total:
        lines.append(
            "Recommended: a ticket of --granularity channel, slimmed: its convolutions are smaller, and fast anywhere."
        )
    if SPARSE_ON_ARM in kinds:
        lines.append("Recommended: the sparse float32 file for ARM, measured on the phone (docs/mobile.md).")
        if not machine.sparse_convolutions:
            lines.append(f"This machine: {machine.name}: sparse convolutions are switched off, they pay on ARM.")
    if SPARSE in kinds and dense_layers + convolutions <= _RELEVANT * total:
        lines.append("Recommended: the sparse float32 file; compare it with dense int8 (`tf-lottery bench`).")
    if BLOCKS in kinds:
        names = sorted({each.kind for each, verdict in pairs if verdict.kind == BLOCKS})
        lines.append(f"Delegates: {', '.join(names)} split the graph; what to change is said there.")
    return lines
