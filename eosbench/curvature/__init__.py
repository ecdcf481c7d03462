"""Curvature of a loss: the Hessian as a map, its largest eigenvalues with errors, and higher derivatives."""

from eosbench.curvature.batches import MicroBatched as MicroBatched
from eosbench.curvature.dense import dense_hessian as dense_hessian
from eosbench.curvature.dense import dense_sharpness as dense_sharpness
from eosbench.curvature.density import Density as Density
from eosbench.curvature.density import Trace as Trace
from eosbench.curvature.density import spectral_density as spectral_density
from eosbench.curvature.density import trace as trace
from eosbench.curvature.derivatives import SelfStabilization as SelfStabilization
from eosbench.curvature.derivatives import directional_derivatives as directional_derivatives
from eosbench.curvature.derivatives import self_stabilization as self_stabilization
from eosbench.curvature.derivatives import sharpness_gradient as sharpness_gradient
from eosbench.curvature.point import Point as Point
from eosbench.curvature.point import linearize as linearize
from eosbench.curvature.sharpness import sharpness as sharpness
from eosbench.curvature.spectrum import NotConvergedError as NotConvergedError
from eosbench.curvature.spectrum import Spectrum as Spectrum
from eosbench.curvature.stability import floquet_multipliers as floquet_multipliers
from eosbench.curvature.stability import stableness as stableness
