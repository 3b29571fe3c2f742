"""What the verdicts on a model's operations come to: zeros, bytes, where the arithmetic runs, what to do."""

from collections.abc import Mapping, Sequence

import numpy as np

from tf_lottery.exporting.diagnose.operations import Operation
from tf_lottery.exporting.diagnose.processor import Processor
from tf_lottery.exporting.diagnose.race import Race, name_file
from tf_lottery.exporting.diagnose.runtime_rules import MULTIPLYING, in_percent, zero_block_share
from tf_lottery.exporting.diagnose.verdicts import BLOCKS, DENSIFIED, SPARSE, SPARSE_ON_ARM, OperationVerdict
from tf_lottery.exporting.slim import SlimReport

# Advice is given for what takes at least this share of the multiplications.
_RELEVANT = 0.2


def count_multiplications(operation: Operation) -> int:
    """Return how many multiplications with weights an operation takes for one sample, zeros included.

    Example:
        >>> count_multiplications(Operation(0, "CONV_2D", output_shape=(1, 4, 4, 8), weights=np.zeros((8, 3, 3, 2))))
        2304
    """
    if operation.weights is None or operation.kind not in MULTIPLYING:
        return 0
    batchless = operation.input_shape if operation.kind == "TRANSPOSE_CONV" else operation.output_shape
    places = int(np.prod(batchless[1:-1])) if len(batchless) > 2 else 1
    return places * operation.weights.size


def describe_slimming(report: SlimReport) -> str:
    """Return a sentence on what removing dead units and channels would leave."""
    if report.parameters_after >= report.parameters_before:
        return "Slimming: nothing to remove, no unit or channel is dead."
    units = sum(layer.units_before for layer in report.layers)
    return (
        f"Slimming: {report.removed:,} of {units:,} units and channels are dead; without them "
        f"{report.parameters_after:,} of {report.parameters_before:,} parameters are left, and the "
        "model is smaller and faster on any machine (`tfl.export(...)` offers it)."
    )


def summarize(
    operations: Sequence[Operation],
    verdicts: Sequence[OperationVerdict],
    processor: Processor,
    *,
    sizes: Mapping[str, int],
    delegated: set[int] | None,
    load_failure: str = "",
    slimming: str = "",
    raced: Race | None = None,
    max_drop: float | None = None,
) -> list[str]:
    """Return the sentences of a diagnosis.

    Args:
        operations: those of the model.
        verdicts: on the operations, in equal order.
        processor: where the model is to run.
        sizes: bytes of the files that an export would offer: "dense", "rows" (single zeros left out), "1x4" (blocks);
            or "as it is" for a file.
        delegated: positions of operations in the main graph that the default delegate takes; None: not known.
        load_failure: why the interpreter did not load the file.
        slimming: the sentence on what slimming would remove, of a Keras model.
        raced: the files that were timed on this machine; None where none were.
        max_drop: the accuracy budget of the race, a fraction; None where only float32 files were raced.
    """
    pairs = list(zip(operations, verdicts, strict=True))
    lines = [_zeros(operations), _bytes(sizes, with_metadata=raced is not None)]
    lines.append(_arithmetic(pairs, processor, sizes))
    main = [operation for operation in operations if not operation.subgraph]
    if load_failure:
        lines.append(f"The default LiteRT interpreter does not load the file: {load_failure}")
    elif delegated is not None:
        count = sum(operation.position in delegated for operation in main)
        own = any(verdict.kind == SPARSE for _, verdict in pairs)
        aside = "; sparse kernels of dense layers are LiteRT's own, outside of it" if own else ""
        lines.append(f"Delegate: the default one takes {count} of {len(main)} operations here{aside}.")
    if slimming:
        lines.append(slimming)
    race = [] if raced is None else _describe_race(raced, processor, max_drop)
    return [*lines, *_recommendations(pairs, processor, sizes, race)]


def _describe_race(raced: Race, processor: Processor, max_drop: float | None) -> list[str]:
    outside = [file for file in raced.files if max_drop is not None and file.loss > max_drop]
    figures = [
        f"  *{file.name}.tflite {file.bytes:,} bytes, {file.latency_us:.1f} us"
        + (f", outside the accuracy budget ({in_percent(file.loss)})" if file in outside else "")
        for file in raced.files
    ]
    figures += [f"  refused: {line}" for line in raced.refusals]
    if max_drop is not None:
        return [
            f"Raced here ({processor.name}), every precision on the samples:",
            *figures,
            f"Recommended here: *{raced.files[0].name}.tflite of `tfl.export(format='tflite')`, the least bytes times "
            f"latency within the accuracy budget ({in_percent(max_drop)}).",
        ]
    return [
        f"Raced here ({processor.name}), the float32 files of an export:",
        *figures,
        f"Recommended here: *{raced.files[0].name}.tflite of `tfl.export(format='tflite')`, the least bytes times "
        "latency of these. An export races other precisions too, int8 with real data.",
    ]


def _zeros(operations: Sequence[Operation]) -> str:
    # Steps of an unrolled loop, and calls of a layer that is used twice, share what is stored once.
    by_buffer = {node.index if node.buffer is None else ("stored", node.buffer): node for node in reversed(operations)}
    weights = [(node, node.weights) for node in by_buffer.values() if node.weights is not None]
    total = sum(array.size for _, array in weights)
    if not total:
        return "Zeros: no operation has weights."
    zeros = sum(int((array == 0).sum()) for _, array in weights)
    blocks = {
        size: sum((zero_block_share(node, size) or 0) * array.size for node, array in weights) for size in (4, 16)
    }
    return (
        f"Zeros: {in_percent(zeros / total)} of {total:,} weights; {in_percent(blocks[4] / total)} in whole 1x4 "
        f"blocks, {in_percent(blocks[16] / total)} in 1x16."
    )


def _bytes(sizes: Mapping[str, int], *, with_metadata: bool) -> str:
    if "dense" not in sizes:
        return f"Disk: {sizes['as it is']:,} bytes."
    dense = sizes["dense"]
    parts = [f"float32 TFLite takes {dense:,} bytes dense{'' if with_metadata else ' (without metadata)'}"]
    if "rows" in sizes:
        parts.append(f"rows: {_of(sizes['rows'], dense)}, dense layers densified (*_float32_sparse.tflite)")
    if "1x4" in sizes:
        parts.append(
            f"1x4 blocks: {_of(sizes['1x4'], dense)}, dense layers on sparse kernels "
            f"(*{name_file('1x4', list(sizes))}.tflite)"
        )
    if len(parts) == 1:
        parts.append("no sparse file would be smaller")
    return f"Disk: {'; '.join(parts)}."


def _of(size: int, dense: int) -> str:
    return f"{size:,} bytes ({in_percent(size / dense)})"


def _arithmetic(
    pairs: Sequence[tuple[Operation, OperationVerdict]], processor: Processor, sizes: Mapping[str, int]
) -> str:
    total = sum(count_multiplications(operation) for operation, _ in pairs)
    if not total:
        return "Speed: no operation multiplies with weights."
    always = sum(count_multiplications(operation) for operation, verdict in pairs if verdict.kind == SPARSE)
    on_arm = always + sum(
        count_multiplications(operation) for operation, verdict in pairs if verdict.kind == SPARSE_ON_ARM
    )
    here = on_arm if processor.sparse_convolutions else always
    blocks = " in the file with 1x4 blocks" if "1x4" in sizes else ""
    share = in_percent(here / total)
    line = f"Speed: {share} of the multiplications are on sparse kernels on {processor.name}{blocks}"
    return f"{line}, {in_percent(on_arm / total)} on ARM." if not processor.name.startswith("ARM") else f"{line}."


def _recommendations(
    pairs: Sequence[tuple[Operation, OperationVerdict]],
    processor: Processor,
    sizes: Mapping[str, int],
    race: list[str],
) -> list[str]:
    file = _fast_file(sizes)
    kinds = {verdict.kind for _, verdict in pairs}
    lines = list(race)
    total = sum(count_multiplications(operation) for operation, _ in pairs) or 1
    densified = [operation for operation, verdict in pairs if verdict.kind == DENSIFIED]
    convolutions = sum(
        count_multiplications(operation) for operation in densified if operation.kind != "FULLY_CONNECTED"
    )
    dense_layers = sum(
        count_multiplications(operation)
        for operation, verdict in pairs
        if operation.kind == "FULLY_CONNECTED" and any("granularity" in finding.advice for finding in verdict.findings)
    )
    if dense_layers > _RELEVANT * total:
        lines.append(
            "Recommended: a ticket of `granularity='1x4'`: float32 dense layers skip its zeros on any processor. Which "
            "file is the best then, an export measures."
        )
    if convolutions > _RELEVANT * total:
        lines.append(
            "Recommended: a ticket of `granularity='channel'`, slimmed: its convolutions are smaller on any processor."
        )
    if SPARSE_ON_ARM in kinds:
        lines.append(f"Recommended for ARM, by rule: {file}, to be measured on the phone (docs/mobile.md).")
        if not processor.sparse_convolutions:
            lines.append(f"On {processor.name} sparse convolutions are switched off: they pay on ARM.")
    if SPARSE in kinds and not race and dense_layers + convolutions <= _RELEVANT * total:
        lines.append(
            f"Recommended for {processor.name}, by rule: {file}; compare it with dense int8 "
            "(`tf_lottery.exporting.measure.bench.bench(...)`)."
        )
    if BLOCKS in kinds:
        blocking = [(operation.kind, verdict) for operation, verdict in pairs if verdict.kind == BLOCKS]
        names = sorted({kind for kind, _ in blocking})
        advised = sorted({kind for kind, verdict in blocking if any(finding.advice for finding in verdict.findings)})
        where = " there" if advised == names else f" at {', '.join(advised)}"
        change = f"; what to change is listed{where}" if advised else ""
        lines.append(f"Delegates: {', '.join(names)} split{'s' * (len(names) == 1)} the graph{change}.")
    return lines


def _fast_file(sizes: Mapping[str, int]) -> str:
    if "dense" not in sizes:
        return "this file"
    # If no sparse file would be smaller, an export offers none.
    layout = next((layout for layout in ("1x4", "rows") if layout in sizes), "dense")
    return f"*{name_file(layout, list(sizes))}.tflite of `tfl.export(format='tflite')`"
