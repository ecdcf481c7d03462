"""Each worker has a core: with a thread for each core in each worker, BLAS waits for itself more than it computes."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when NumPy is imported; workers inherit it
