"""Theory about gradient descent at the edge of stability, as executable claims.

The names below are the public ones. They are loaded when first used, so that `import eosbench` costs nothing and only
the numerical ones bring JAX with them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eosbench.claim import Claim, ClaimError, Document, EvidenceError, Source
    from eosbench.curvature import Spectrum, sharpness
    from eosbench.dynamics import Sharpness, train
    from eosbench.evidence import Evidence

__version__ = "0.1.0"

_HOME = {
    "Claim": "eosbench.claim",
    "ClaimError": "eosbench.claim",
    "Document": "eosbench.claim",
    "Source": "eosbench.claim",
    "Evidence": "eosbench.evidence",
    "EvidenceError": "eosbench.claim",
    "Spectrum": "eosbench.curvature",
    "sharpness": "eosbench.curvature",
    "Sharpness": "eosbench.dynamics",
    "train": "eosbench.dynamics",
}

__all__ = [
    "Claim",
    "ClaimError",
    "Document",
    "Evidence",
    "EvidenceError",
    "Sharpness",
    "Source",
    "Spectrum",
    "__version__",
    "sharpness",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'eosbench' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
