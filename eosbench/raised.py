"""What was raised and where, on one line, for whoever reads a report and not a traceback."""

import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

_PACKAGE = Path(__file__).parent
_STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))


def told(problem: BaseException) -> str:
    """`OSError: no data`: the kind of what was raised and the first line of what it says; those of JAX say a page."""
    lines = (line.strip() for line in str(problem).splitlines())
    return f"{type(problem).__name__}: {next(filter(None, lines), 'no message')}"


def place(problem: BaseException, root: Path) -> str | None:
    """`claims/test_a.py:12`: the last line on the way to it that is neither of a library nor of this package."""
    frames = [frame for frame in traceback.extract_tb(problem.__traceback__) if _is_own(Path(frame.filename))]
    if not frames:
        return None
    file = Path(frames[-1].filename)
    return f"{file.relative_to(root).as_posix() if file.is_relative_to(root) else file}:{frames[-1].lineno}"


def is_ours(problem: BaseException) -> bool:
    """Whether it was raised in this package, whose messages are sentences for the reader."""
    frames = traceback.extract_tb(problem.__traceback__)
    return bool(frames) and Path(frames[-1].filename).is_relative_to(_PACKAGE)


def each(problem: BaseException) -> Iterator[BaseException]:
    """What was raised, or all that was, where several fixtures fail in the end."""
    if isinstance(problem, BaseExceptionGroup):
        for one in problem.exceptions:
            yield from each(one)
    else:
        yield problem


def _is_own(file: Path) -> bool:
    library = {"site-packages", "dist-packages"} & set(file.parts) or file.is_relative_to(_STANDARD_LIBRARY)
    return file.is_file() and not library and not file.is_relative_to(_PACKAGE)
