"""The verdict on one operation: how the default LiteRT interpreter will run its weights, why, and what to change."""

from collections.abc import Sequence
from dataclasses import dataclass

from tf_lottery.exporting.diagnose.clusters import SparseCluster
from tf_lottery.exporting.diagnose.operations import Operation
from tf_lottery.exporting.diagnose.processor import Processor
from tf_lottery.exporting.diagnose.runtime_rules import (
    ENCODED,
    MULTIPLYING,
    PAYS,
    Reason,
    blocking_reason,
    in_percent,
    sparse_layout,
    zero_block_share,
    zero_share,
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
class OperationVerdict:
    """How an operation will run, and why.

    Attributes:
        kind: one of `VERDICTS`.
        findings: the reasons.
    """

    kind: str
    findings: tuple[Reason, ...] = ()


def judge_operation(
    operation: Operation,
    clusters: Sequence[SparseCluster],
    processor: Processor,
    *,
    any_sparse: bool = True,
    encoded_by_export: bool = True,
    delegated: bool | None = None,
) -> OperationVerdict:
    """Return the verdict on an operation as its file stores it.

    Args:
        operation: any.
        clusters: those of its graph.
        processor: where it is to run.
        any_sparse: whether any weight of the file is stored sparse, without which XNNPACK looks for no zeros.
        encoded_by_export: whether `export` chose the encoding, which then saves as much as it can.
        delegated: whether the interpreter gave it to the default delegate; None: not known.
    """
    if reason := blocking_reason(operation):
        return OperationVerdict(BLOCKS, (reason,))
    not_delegated = () if delegated is not False or _by_design(operation) else (_NOT_DELEGATED,)
    if operation.weights is None:
        return OperationVerdict(BLOCKS if not_delegated else NO_WEIGHTS, not_delegated)
    cluster = next((cluster for cluster in clusters if operation.index in cluster.members), None)
    if operation.encoding == "dense" and not (any_sparse and _runs_sparse(operation, cluster)):
        reasons = _why_dense(operation, encoded_by_export or any_sparse)
        return OperationVerdict(DENSE, (*reasons, *not_delegated))
    if operation.kind == "FULLY_CONNECTED":
        verdict = _fully_connected(operation)
    else:
        verdict = _convolution(operation, cluster, processor)
    return OperationVerdict(verdict.kind, (*verdict.findings, *not_delegated))


_FEW = 0.2
# More zeros than this outside of whole blocks: the ticket was not pruned in blocks.
_SCATTERED = 0.05
_NOT_DELEGATED = Reason(
    "the default delegate does not take it here: LiteRT's own kernel runs it, and the graph is split"
)


def _by_design(operation: Operation) -> bool:
    # Sparse kernels of dense layers are LiteRT's own.
    return operation.kind == "FULLY_CONNECTED" and operation.encoding not in ("", "dense")


def _why_dense(operation: Operation, encoded_by_export: bool) -> tuple[Reason, ...]:
    share = zero_share(operation.weights) if operation.weights is not None else 0.0
    if operation.kind not in ENCODED:
        return (Reason(f"{operation.kind} takes no sparse weights", "prune whole channels, which slimming removes"),)
    if share == 0:
        return (Reason("it has no zeros"),)
    if operation.precision == "int4":
        return (Reason("int4 weights have no sparse form", "take `precision='mixed'`, which has one of int8"),)
    size = 0 if operation.weights is None else operation.weights.size
    if encoded_by_export or share < _FEW:
        return (Reason(f"{in_percent(share)} zeros of {size:,} weights: storing them sparse saves no bytes"),)
    return (
        Reason(
            f"{in_percent(share)} zeros, in a file that stores them all",
            "export the Keras model with `tfl.export(...)`, and take a file with sparse encoding",
        ),
    )


def _fully_connected(operation: Operation) -> OperationVerdict:
    share = zero_share(operation.weights) if operation.weights is not None else 0.0
    if operation.encoding.startswith("1x"):
        whole = zero_block_share(operation, int(operation.encoding[2:])) or 0.0
        text = f"{in_percent(whole)} of the weights are in zero {operation.encoding} blocks"
        if whole > PAYS:
            return OperationVerdict(SPARSE, (Reason(text),))
        text = f"{text}: a sparse kernel is faster than a dense one above about two thirds"
        scattered = share - whole > _SCATTERED
        advice = f"find the ticket with `granularity={operation.encoding!r}`" if scattered else "prune further"
        return OperationVerdict(SPARSE, (Reason(text, advice),))
    if operation.computes == "int16":
        return OperationVerdict(
            DENSIFIED, (Reason("int16: LiteRT has no sparse kernel for it", "take int8 for speed"),)
        )
    if operation.computes == "int8" or operation.precision == "int8":
        text = "int8: LiteRT has no fast sparse kernel for single zeros of dense layers"
        return OperationVerdict(DENSIFIED, (Reason(text, "encode it as a 1x1 convolution, as `tfl.export(...)` does"),))
    inputs = operation.weights.shape[-1] if operation.weights is not None else 0
    if operation.precision == "float16":
        text = "float16: blocks answer with NaN, so single zeros are left out, and put back when the file is loaded"
        return OperationVerdict(DENSIFIED, (Reason(text, "take float32 with 1x4 blocks for speed"),))
    whole = zero_block_share(operation, 4) or 0.0
    if inputs % 4:
        text = f"input size {inputs} is no multiple of 4: it can't be stored in 1x4 blocks"
        return OperationVerdict(DENSIFIED, (Reason(text, "give the layer before it a multiple of 4 units"),))
    text = (
        f"zeros are not in blocks: {in_percent(share)} of the weights are zero, {in_percent(whole)} in whole 1x4 blocks"
    )
    return OperationVerdict(DENSIFIED, (Reason(text, "find the ticket with `granularity='1x4'`"),))


def _runs_sparse(operation: Operation, cluster: SparseCluster | None) -> bool:
    # Once XNNPACK looks for zeros, because any weight is stored sparse, it counts those of every 1x1 convolution.
    return cluster is not None and not cluster.obstacles and operation.kernel == (1, 1) and operation.kind == "CONV_2D"


def _convolution(operation: Operation, cluster: SparseCluster | None, processor: Processor) -> OperationVerdict:
    channels = "find the ticket with `granularity='channel'`, and export the slimmed model"
    if operation.kind in ENCODED - MULTIPLYING:
        return OperationVerdict(DENSIFIED, (Reason(f"there is no sparse kernel for {operation.kind}"),))
    if operation.kind != "CONV_2D":
        return OperationVerdict(DENSIFIED, (Reason(f"there is no sparse kernel for {operation.kind}", channels),))
    if operation.kernel != (1, 1):
        height, width = operation.kernel
        text = f"there is no sparse kernel for {height}x{width} convolutions"
        return OperationVerdict(DENSIFIED, (Reason(text, channels),))
    if cluster is None:
        return OperationVerdict(DENSIFIED, sparse_layout(operation).obstacles)
    if cluster.obstacles:
        return OperationVerdict(DENSIFIED, cluster.obstacles)
    findings = [Reason(f"sparse on ARM: {in_percent(cluster.zeros)} zeros in the 1x1 convolutions of its stretch")]
    if not processor.sparse_convolutions:
        findings.append(
            Reason(f"switched off on {processor.name}; sparse convolutions pay on ARM", "measure on a phone")
        )
    return OperationVerdict(SPARSE_ON_ARM, (*findings, *cluster.remarks))
