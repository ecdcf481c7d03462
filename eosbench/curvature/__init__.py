"""Curvature of a loss: the Hessian as a map, its largest eigenvalues with errors, and higher derivatives."""

from eosbench.curvature.dense import dense_hessian as dense_hessian
from eosbench.curvature.operator import Linearization as Linearization
from eosbench.curvature.operator import linearize as linearize
from eosbench.curvature.sharpness import sharpness as sharpness
from eosbench.curvature.spectrum import NotConvergedError as NotConvergedError
from eosbench.curvature.spectrum import Spectrum as Spectrum
