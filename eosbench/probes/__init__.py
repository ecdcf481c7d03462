"""Probes: what `eosbench.train` can measure along the way, each in a file of its own."""

from eosbench.probes._batch_sharpness import BatchCurvature as BatchCurvature
from eosbench.probes._batch_sharpness import BatchSharpness as BatchSharpness
from eosbench.probes._edge_distance import EdgeDistance as EdgeDistance
from eosbench.probes._sharpness import Sharpness as Sharpness
from eosbench.probes._sharpness import Track as Track
