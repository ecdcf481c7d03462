"""Curvature of a loss: the Hessian as a map, its largest eigenvalues with errors, and higher derivatives."""

from eosbench.curvature.batches import MicroBatched as MicroBatched
from eosbench.curvature.dense import dense_hessian as dense_hessian
from eosbench.curvature.density import Density as Density
from eosbench.curvature.density import Trace as Trace
from eosbench.curvature.density import spectral_density as spectral_density
from eosbench.curvature.density import trace as trace
from eosbench.curvature.derivatives import SelfStabilization as SelfStabilization
from eosbench.curvature.derivatives import directional_derivatives as directional_derivatives
from eosbench.curvature.derivatives import self_stabilization as self_stabilization
from eosbench.curvature.derivatives import sharpness_gradient as sharpness_gradient
from eosbench.curvature.operator import Linearization as Linearization
from eosbench.curvature.operator import linearize as linearize
from eosbench.curvature.sharpness import sharpness as sharpness
from eosbench.curvature.sharpness import solve as solve
from eosbench.curvature.spectrum import NotConvergedError as NotConvergedError
from eosbench.curvature.spectrum import Spectrum as Spectrum
from eosbench.curvature.stability import floquet_multipliers as floquet_multipliers
from eosbench.curvature.stability import stableness as stableness
from eosbench.curvature.tracker import Sharpness as Sharpness
from eosbench.curvature.tracker import Track as Track
