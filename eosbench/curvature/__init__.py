"""Curvature of a loss: the Hessian as a map, its largest eigenvalues with errors, and higher derivatives."""

from eosbench.curvature._batches import MicroBatched as MicroBatched
from eosbench.curvature._dense import dense_hessian as dense_hessian
from eosbench.curvature._dense import dense_sharpness as dense_sharpness
from eosbench.curvature._density import Density as Density
from eosbench.curvature._density import Trace as Trace
from eosbench.curvature._density import spectral_density as spectral_density
from eosbench.curvature._density import trace as trace
from eosbench.curvature._derivatives import SelfStabilization as SelfStabilization
from eosbench.curvature._derivatives import directional_derivatives as directional_derivatives
from eosbench.curvature._derivatives import self_stabilization as self_stabilization
from eosbench.curvature._derivatives import sharpness_gradient as sharpness_gradient
from eosbench.curvature._layout import Layout as Layout
from eosbench.curvature._point import Point as Point
from eosbench.curvature._point import linearize as linearize
from eosbench.curvature._sharpness import sharpness as sharpness
from eosbench.curvature._spectrum import NotConvergedError as NotConvergedError
from eosbench.curvature._spectrum import Spectrum as Spectrum
from eosbench.curvature._stability import floquet_multipliers as floquet_multipliers
from eosbench.curvature._stability import stableness as stableness
