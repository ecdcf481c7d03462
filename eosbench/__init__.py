"""Theory about gradient descent at the edge of stability, as executable claims.

The names below are the public ones, and so are those of the packages `eosbench.curvature`, `.dynamics`, `.probes`,
`.problems` and `.proof`. They are loaded when first used, so that `import eosbench` costs nothing and only the
numerical ones bring JAX with them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eosbench import curvature as curvature
    from eosbench import dynamics as dynamics
    from eosbench import probes as probes
    from eosbench import problems as problems
    from eosbench import proof as proof
    from eosbench.claim import Claim as Claim
    from eosbench.claim import ClaimError as ClaimError
    from eosbench.claim import EvidenceError as EvidenceError
    from eosbench.claim import Source as Source
    from eosbench.curvature import Density as Density
    from eosbench.curvature import MicroBatched as MicroBatched
    from eosbench.curvature import NotConvergedError as NotConvergedError
    from eosbench.curvature import Point as Point
    from eosbench.curvature import Spectrum as Spectrum
    from eosbench.curvature import Trace as Trace
    from eosbench.curvature import dense_hessian as dense_hessian
    from eosbench.curvature import linearize as linearize
    from eosbench.curvature import sharpness as sharpness
    from eosbench.curvature import spectral_density as spectral_density
    from eosbench.curvature import stableness as stableness
    from eosbench.curvature import trace as trace
    from eosbench.documents import Document as Document
    from eosbench.dynamics import Batches as Batches
    from eosbench.dynamics import Every as Every
    from eosbench.dynamics import OnBatch as OnBatch
    from eosbench.dynamics import Probe as Probe
    from eosbench.dynamics import Run as Run
    from eosbench.dynamics import Stability as Stability
    from eosbench.dynamics import TrainState as TrainState
    from eosbench.dynamics import load_state as load_state
    from eosbench.dynamics import progress_line as progress_line
    from eosbench.dynamics import save_state as save_state
    from eosbench.dynamics import stability as stability
    from eosbench.dynamics import train as train
    from eosbench.evidence import Evidence as Evidence
    from eosbench.probes import BatchSharpness as BatchSharpness
    from eosbench.probes import CriticalSharpness as CriticalSharpness
    from eosbench.probes import EdgeDistance as EdgeDistance
    from eosbench.probes import GradientAlignment as GradientAlignment
    from eosbench.probes import Midpoint as Midpoint
    from eosbench.probes import MiniBatchSharpness as MiniBatchSharpness
    from eosbench.probes import NoiseInteraction as NoiseInteraction
    from eosbench.probes import Sharpness as Sharpness
    from eosbench.probes import StepCurvature as StepCurvature
    from eosbench.probes import Track as Track

__version__ = "0.2.0"

# Where each public name is at home; a test holds it against what type checkers are told above.
_HOME = {
    **dict.fromkeys(("Claim", "ClaimError", "EvidenceError", "Source"), "eosbench.claim"),
    **dict.fromkeys(
        (
            "Density",
            "Point",
            "MicroBatched",
            "NotConvergedError",
            "Spectrum",
            "Trace",
            "dense_hessian",
            "linearize",
            "sharpness",
            "spectral_density",
            "stableness",
            "trace",
        ),
        "eosbench.curvature",
    ),
    "Document": "eosbench.documents",
    **dict.fromkeys(
        (
            "Batches",
            "Every",
            "OnBatch",
            "Probe",
            "Run",
            "Stability",
            "TrainState",
            "load_state",
            "progress_line",
            "save_state",
            "stability",
            "train",
        ),
        "eosbench.dynamics",
    ),
    "Evidence": "eosbench.evidence",
    **dict.fromkeys(
        (
            "BatchSharpness",
            "CriticalSharpness",
            "EdgeDistance",
            "GradientAlignment",
            "Midpoint",
            "MiniBatchSharpness",
            "NoiseInteraction",
            "Sharpness",
            "StepCurvature",
            "Track",
        ),
        "eosbench.probes",
    ),
}

_PACKAGES = ("curvature", "dynamics", "probes", "problems", "proof")

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"eosbench.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'eosbench' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *_PACKAGES])
