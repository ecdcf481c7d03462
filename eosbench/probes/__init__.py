"""Probes: what `eosbench.train` can measure along the way, each in a file of its own."""

from eosbench.probes._alignment import Aligned as Aligned
from eosbench.probes._alignment import GradientAlignment as GradientAlignment
from eosbench.probes._batch_sharpness import BatchCurvature as BatchCurvature
from eosbench.probes._batch_sharpness import BatchSharpness as BatchSharpness
from eosbench.probes._critical_sharpness import Critical as Critical
from eosbench.probes._critical_sharpness import CriticalSharpness as CriticalSharpness
from eosbench.probes._edge_distance import Distance as Distance
from eosbench.probes._edge_distance import EdgeDistance as EdgeDistance
from eosbench.probes._midpoint import Midpoint as Midpoint
from eosbench.probes._mini_batch_sharpness import MeanSharpness as MeanSharpness
from eosbench.probes._mini_batch_sharpness import MiniBatchSharpness as MiniBatchSharpness
from eosbench.probes._noise_interaction import Interaction as Interaction
from eosbench.probes._noise_interaction import NoiseInteraction as NoiseInteraction
from eosbench.probes._sharpness import Sharpness as Sharpness
from eosbench.probes._sharpness import Track as Track
from eosbench.probes._step_curvature import AlongStep as AlongStep
from eosbench.probes._step_curvature import StepCurvature as StepCurvature
