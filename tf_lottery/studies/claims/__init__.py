"""Claims of the literature that check themselves: the runs that they need, and the functions that judge them.

A claim is one function (in `lenet.py` or `convolutional.py`) and one entry of `claim_registry.CLAIMS`; `recipes.py` has
the configurations of the runs. Names are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tf_lottery.studies.claims.claim import Claim
    from tf_lottery.studies.claims.claim_registry import CLAIMS
    from tf_lottery.studies.claims.evidence import Evidence
    from tf_lottery.studies.claims.measures import ClaimFinding, at_least, at_most, conclude, more_than
    from tf_lottery.studies.claims.reproducing import plan_claims, reproduce

_HOMES = {
    **{"Claim": "claim", "Evidence": "evidence", "CLAIMS": "claim_registry", "plan_claims": "reproducing"},
    **{name: "measures" for name in ("ClaimFinding", "at_least", "at_most", "conclude", "more_than")},
    **{"reproduce": "reproducing"},
}
__all__ = [
    "CLAIMS",
    "Claim",
    "ClaimFinding",
    "Evidence",
    "at_least",
    "at_most",
    "conclude",
    "more_than",
    "plan_claims",
    "reproduce",
]


def __getattr__(name: str) -> Any:
    """Load a public name of this package."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
