"""From a results file to a terminal table, `claims.json`, `CLAIMS.md` and one self-contained page, `report.html`."""

import json
import os
from dataclasses import replace
from pathlib import Path

from eosbench.report.results import Results, ResultsError, read
from eosbench.report.terminal import summary

__all__ = ["Results", "ResultsError", "read", "summary", "write"]


def write(evidence_path: Path, out_dir: Path) -> Results:
    """Read a results file and write `claims.json`, `CLAIMS.md` and `report.html` into a directory, each at one stroke.

    Raises:
        ResultsError: the results file cannot be read.
        OSError: the directory cannot be written.
    """
    # Drawing takes Matplotlib, which whoever only reads results need not load.
    from eosbench.report import html, markdown

    results = replace(read(Path(evidence_path)), report=Path(out_dir) / "report.html")
    Path(out_dir).mkdir(parents=True, exist_ok=True)
    _put(
        Path(out_dir) / "claims.json",
        json.dumps(results.to_json(), allow_nan=False, ensure_ascii=False, indent=1) + "\n",
    )
    _put(Path(out_dir) / "CLAIMS.md", markdown.page(results))
    _put(Path(out_dir) / "report.html", html.page(results))
    return results


def _put(path: Path, text: str) -> None:
    """A reader sees the old file or the new one, never a part."""
    partial = path.with_name(f"{path.name}.tmp")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
