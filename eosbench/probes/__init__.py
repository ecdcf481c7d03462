"""Probes: what `eosbench.train` can measure along the way, each in a file of its own."""

from eosbench.probes.batch_sharpness import BatchCurvature as BatchCurvature
from eosbench.probes.batch_sharpness import BatchSharpness as BatchSharpness
from eosbench.probes.edge_distance import EdgeDistance as EdgeDistance
from eosbench.probes.sharpness import Sharpness as Sharpness
from eosbench.probes.sharpness import Track as Track
