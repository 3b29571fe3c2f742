"""The verdict on one operation: how the default LiteRT interpreter will run its weights, why, and what to change."""

from collections.abc import Sequence
from dataclasses import dataclass

from tf_lottery.exporting.diagnose.clusters import Cluster
from tf_lottery.exporting.diagnose.operations import Operation
from tf_lottery.exporting.diagnose.processor import Processor
from tf_lottery.exporting.diagnose.runtime_rules import (
    ENCODED,
    PAYS,
    Finding,
    blocking,
    in_percent,
    layout,
    zeros,
    zeros_in_blocks,
)

SPARSE, SPARSE_ON_ARM, DENSIFIED, DENSE = "sparse", "sparse on ARM", "densified", "dense"
NO_WEIGHTS, BLOCKS = "no weights", "blocks"
VERDICTS = {
    SPARSE: "runs on a sparse kernel",
    SPARSE_ON_ARM: "runs on a sparse kernel, on processors where XNNPACK has it switched on",
    DENSIFIED: "smaller on disk, dense at run time",
    DENSE: "stored dense: its zeros gain nothing",
    NO_WEIGHTS: "has no weights",
    BLOCKS: "no delegate takes it",
}
"""What each verdict means."""


@dataclass(frozen=True)
class Verdict:
    """One of `VERDICTS`, with its reasons."""

    kind: str
    findings: tuple[Finding, ...] = ()


def judge(
    operation: Operation,
    clusters: Sequence[Cluster],
    machine: Processor,
    *,
    encoded: bool = True,
    chosen: bool = True,
    taken: bool | None = None,
) -> Verdict:
    """The verdict on an operation as its file stores it.

    Args:
        operation: any.
        clusters: those of its graph.
        machine: where it is to run.
        encoded: whether any weight of the file is stored sparse, without which XNNPACK looks for no zeros.
        chosen: whether `export` chose the encoding, which then saves as much as it can.
        taken: whether the default delegate was seen to take it; None: not known.
    """
    if finding := blocking(operation):
        return Verdict(BLOCKS, (finding,))
    left = () if taken is not False or _by_design(operation) else (_NOT_TAKEN,)
    if operation.weights is None:
        return Verdict(BLOCKS if left else NO_WEIGHTS, left)
    cluster = next((each for each in clusters if operation.index in each.members), None)
    if operation.encoding == "dense" and not (encoded and _runs_sparse(operation, cluster)):
        return Verdict(DENSE, (*_why_dense(operation, chosen or encoded), *left))
    if operation.kind == "FULLY_CONNECTED":
        verdict = _fully_connected(operation)
    else:
        verdict = _convolution(operation, cluster, machine)
    return Verdict(verdict.kind, (*verdict.findings, *left))


_FEW = 0.2
# More zeros than this outside of whole blocks: the ticket was not found in blocks.
_SCATTERED = 0.05
_NOT_TAKEN = Finding("the default delegate does not take it here: LiteRT's own kernel runs it, and the graph is split")


def _by_design(operation: Operation) -> bool:
    # Sparse kernels of dense layers are LiteRT's own.
    return operation.kind == "FULLY_CONNECTED" and operation.encoding not in ("", "dense")


def _why_dense(operation: Operation, chosen: bool) -> tuple[Finding, ...]:
    share = zeros(operation.weights) if operation.weights is not None else 0.0
    if operation.kind not in ENCODED:
        return (Finding(f"{operation.kind} takes no sparse weights", "prune whole channels, which slimming removes"),)
    if share == 0:
        return (Finding("it has no zeros"),)
    if operation.subgraph:
        text = f"{in_percent(share)} zeros inside a loop or branch, where weights are stored dense"
        return (Finding(text, "use layers without a loop, such as convolutions over time"),)
    size = 0 if operation.weights is None else operation.weights.size
    if chosen or share < _FEW:
        return (Finding(f"{in_percent(share)} zeros of {size:,} weights: storing them sparse saves no bytes"),)
    return (
        Finding(
            f"{in_percent(share)} zeros, in a file that stores them all",
            "export the Keras model with `tfl.export(...)`, and take a file with sparse encoding",
        ),
    )


def _fully_connected(operation: Operation) -> Verdict:
    share = zeros(operation.weights) if operation.weights is not None else 0.0
    if operation.encoding.startswith("1x"):
        whole = zeros_in_blocks(operation, int(operation.encoding[2:])) or 0.0
        text = f"{in_percent(whole)} of the weights are in zero {operation.encoding} blocks"
        if whole > PAYS:
            return Verdict(SPARSE, (Finding(text),))
        text = f"{text}: a sparse kernel is faster than a dense one above about two thirds"
        scattered = share - whole > _SCATTERED
        advice = f"find the ticket with `granularity={operation.encoding!r}`" if scattered else "prune further"
        return Verdict(SPARSE, (Finding(text, advice),))
    if operation.computes == "int8" or operation.precision == "int8":
        text = "int8: LiteRT has no fast sparse kernel for single zeros of dense layers"
        return Verdict(DENSIFIED, (Finding(text, "encode it as a 1x1 convolution, as `tfl.export(...)` does"),))
    inputs = operation.weights.shape[-1] if operation.weights is not None else 0
    if operation.precision == "float16":
        text = "float16: blocks answer with NaN, so single zeros are left out, and put back when the file is loaded"
        return Verdict(DENSIFIED, (Finding(text, "take float32 with 1x4 blocks for speed"),))
    whole = zeros_in_blocks(operation, 4) or 0.0
    if inputs % 4:
        text = f"input size {inputs} is no multiple of 4: it can't be stored in 1x4 blocks"
        return Verdict(DENSIFIED, (Finding(text, "give the layer before it a multiple of 4 units"),))
    text = (
        f"zeros are not in blocks: {in_percent(share)} of the weights are zero, {in_percent(whole)} in whole 1x4 blocks"
    )
    return Verdict(DENSIFIED, (Finding(text, "find the ticket with `granularity='1x4'`"),))


def _runs_sparse(operation: Operation, cluster: Cluster | None) -> bool:
    # Once XNNPACK looks for zeros, because any weight is stored sparse, it counts those of every 1x1 convolution.
    return cluster is not None and not cluster.obstacles and operation.kernel == (1, 1) and operation.kind == "CONV_2D"


def _convolution(operation: Operation, cluster: Cluster | None, machine: Processor) -> Verdict:
    channels = "find the ticket with `granularity='channel'`, and export the slimmed model"
    if operation.kind != "CONV_2D":
        return Verdict(DENSIFIED, (Finding(f"there is no sparse kernel for {operation.kind}", channels),))
    if operation.kernel != (1, 1):
        height, width = operation.kernel
        text = f"there is no sparse kernel for {height}x{width} convolutions"
        return Verdict(DENSIFIED, (Finding(text, channels),))
    if cluster is None:
        return Verdict(DENSIFIED, layout(operation).obstacles)
    if cluster.obstacles:
        return Verdict(DENSIFIED, cluster.obstacles)
    findings = [Finding(f"sparse on ARM: {in_percent(cluster.zeros)} zeros in the 1x1 convolutions of its stretch")]
    if not machine.sparse_convolutions:
        findings.append(
            Finding(f"switched off here: {machine.name}; sparse convolutions pay on ARM", "measure on a phone")
        )
    return Verdict(SPARSE_ON_ARM, (*findings, *cluster.remarks))
