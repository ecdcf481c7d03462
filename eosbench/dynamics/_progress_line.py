"""How far a run of training is, on one line."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from eosbench.dynamics._training import Run


def progress_line(steps: int, stream: TextIO = sys.stderr) -> Callable[["Run"], None]:
    """An `on_chunk` for `train` that tells how far a run of `steps` steps is, its loss and the time left.

    From the chunk on in which the run diverged it tells at which step. On a terminal it keeps to one line; elsewhere it
    writes a line for each chunk.
    """
    begun = time.monotonic()
    before: list[int] = []
    diverged: list[int] = []

    def tell(run: "Run") -> None:
        step = int(run.state.step)
        before.append(step - len(run.loss))
        if run.diverged_at is not None:
            diverged.append(before[-1] + run.diverged_at)
        rate = (step - before[0]) / max(time.monotonic() - begun, 1e-9)
        left = (before[0] + steps - step) / rate
        loss = f"loss {float(run.loss[-1]):.4g}" + (f", diverged at step {diverged[0]}" if diverged else "")
        line = f"step {step} of {before[0] + steps}, {loss}, {left:.0f} s left"
        stream.write(f"\r{line:<72}" if stream.isatty() else f"{line}\n")
        stream.flush()

    return tell
