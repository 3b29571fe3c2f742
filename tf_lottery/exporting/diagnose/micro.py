"""Whether a model runs in TensorFlow Lite Micro, operation by operation, and what its zeros are worth there."""

from tf_lottery.exporting.diagnose.operations import Operation
from tf_lottery.exporting.diagnose.processor import Processor
from tf_lottery.exporting.diagnose.runtime_rules import Reason, in_percent, zero_share
from tf_lottery.exporting.diagnose.verdicts import BLOCKS, DENSE, NO_WEIGHTS, OperationVerdict
from tf_lottery.exporting.tflite.arena import estimate_arena
from tf_lottery.exporting.tflite.micro_operators import OPERATORS, operators_of, why_not_micro

MICRO = Processor("a microcontroller with TensorFlow Lite Micro", False)
_EXPORT = "export it with `tfl.export(..., calibration=..., target='micro')`"


def judge_for_micro(operation: Operation) -> OperationVerdict:
    """Return the verdict on an operation: whether TensorFlow Lite Micro has it, for whole numbers and dense weights.

    Args:
        operation: any.
    """
    if operation.kind not in OPERATORS:
        text = f"TensorFlow Lite Micro has no operator {operation.kind}"
        return OperationVerdict(BLOCKS, (Reason(text, "replace the layer that makes it"),))
    if operation.encoding not in ("", "dense"):
        return OperationVerdict(BLOCKS, (Reason("TensorFlow Lite Micro has no sparse weights", _EXPORT),))
    if operation.computes in ("float32", "float16"):
        return OperationVerdict(
            BLOCKS, (Reason(f"it computes in {operation.computes}, not on whole numbers", _EXPORT),)
        )
    if operation.weights is None:
        return OperationVerdict(NO_WEIGHTS)
    share = zero_share(operation.weights)
    if not share:
        return OperationVerdict(DENSE, (Reason("it has no zeros"),))
    text = f"{in_percent(share)} zeros gain nothing: TensorFlow Lite Micro stores and multiplies them"
    return OperationVerdict(DENSE, (Reason(text, "find the ticket with `granularity='channel'`, which slimming uses"),))


def summarize_for_micro(content: bytes, *, is_slim: bool, slimming: str = "") -> list[str]:
    """Return the sentences of a diagnosis.

    Args:
        content: the file that was judged.
        is_slim: whether it is that of the slimmed model.
        slimming: the sentence on what slimming would remove, of a Keras model.
    """
    reasons = why_not_micro(content)
    kind = "The slimmed model" if is_slim else "The model"
    lines = [f"Flash: {len(content):,} bytes{' (int8, slimmed)' if is_slim else ''}."]
    if not reasons:
        lines.append(f"Tensor arena: about {estimate_arena(content):,} bytes (an estimate).")
        lines.append(f"Operators to register: {', '.join(operators_of(content))}.")
    lines += [slimming] if slimming else []
    verdict = (
        f"does not run in TensorFlow Lite Micro on whole numbers: {'; '.join(reasons)}"
        if reasons
        else "runs in TensorFlow Lite Micro"
    )
    return [*lines, f"{kind} {verdict}."]
