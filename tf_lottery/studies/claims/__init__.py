"""Claims of the literature that check themselves: the runs that each needs, and what decides it.

A claim is one function and one entry of `registry.CLAIMS`. Names are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tf_lottery.studies.claims.claim import Claim
    from tf_lottery.studies.claims.claim_registry import CLAIMS
    from tf_lottery.studies.claims.evidence import Evidence
    from tf_lottery.studies.claims.measures import Finding, at_least, at_most, conclude, more_than
    from tf_lottery.studies.claims.reproducing import prepare, reproduce

_HOMES = {
    **{"Claim": "claim", "Evidence": "evidence", "CLAIMS": "claim_registry", "prepare": "reproducing"},
    **{name: "measures" for name in ("Finding", "at_least", "at_most", "conclude", "more_than")},
    **{"reproduce": "reproducing"},
}
__all__ = [
    "CLAIMS",
    "Claim",
    "Evidence",
    "Finding",
    "at_least",
    "at_most",
    "conclude",
    "more_than",
    "prepare",
    "reproduce",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
