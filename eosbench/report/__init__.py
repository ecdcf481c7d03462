"""From a results file to a terminal table, one self-contained page, and the same for other readers and programs."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from eosbench.report.results import Results, ResultsError, read
from eosbench.report.terminal import summary

__all__ = ["Results", "ResultsError", "keep", "read", "summary", "write"]


def write(evidence_path: Path, out_dir: Path) -> Results:
    """Read a results file and write its report into a directory: the files of `exports.FORMATS`, each at one stroke.

    Raises:
        ResultsError: the results file cannot be read.
        OSError: the directory cannot be written.
    """
    # Drawing takes Matplotlib, which whoever only reads results need not load.
    from eosbench.report.exports import FORMATS

    results = replace(read(Path(evidence_path)), report=Path(out_dir) / "report.html")
    _put({name: text(results) for name, text in FORMATS.items()}, Path(out_dir))
    return results


def keep(results: Results, out_dir: Path) -> None:
    """Write the report's Markdown pages into a directory of the project.

    Raises:
        ResultsError: the run was not of all claims, or did not come to its end.
        OSError: the directory cannot be written.
    """
    from eosbench.report.exports import FORMATS

    if not results.complete:
        raise ResultsError(
            "these results are not those of a whole run, which alone are kept; run all claims to the end"
        )
    _put({name: text(results) for name, text in FORMATS.items() if name.endswith(".md")}, Path(out_dir))


def _put(files: Mapping[str, str], directory: Path) -> None:
    """A reader sees the old file or the new one, never a part."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        partial = directory / f"{name}.tmp"
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, directory / name)
