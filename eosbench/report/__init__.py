"""From a results file to a terminal table, one self-contained page, and the same for other readers and programs."""

import json
import os
from dataclasses import replace
from pathlib import Path

from eosbench.report.results import Results, ResultsError, read
from eosbench.report.terminal import summary

__all__ = ["Results", "ResultsError", "read", "summary", "write"]


def write(evidence_path: Path, out_dir: Path) -> Results:
    """Read a results file and write its report into a directory, each file at one stroke.

    The files are `claims.json`, `CLAIMS.md`, `errata.md`, `constants.md`, `sources.bib`, `badge.svg`, `junit.xml` and
    `report.html`.

    Raises:
        ResultsError: the results file cannot be read.
        OSError: the directory cannot be written.
    """
    # Drawing takes Matplotlib, which whoever only reads results need not load.
    from eosbench.report import exports, markdown
    from eosbench.report.claims_json import claims_json
    from eosbench.report.html import page

    results = replace(read(Path(evidence_path)), report=Path(out_dir) / "report.html")
    Path(out_dir).mkdir(parents=True, exist_ok=True)
    document = json.dumps(claims_json(results), allow_nan=False, ensure_ascii=False, indent=1) + "\n"
    _put(Path(out_dir) / "claims.json", document)
    _put(Path(out_dir) / "CLAIMS.md", markdown.page(results))
    _put(Path(out_dir) / "errata.md", markdown.errata(results))
    _put(Path(out_dir) / "constants.md", markdown.constants(results))
    _put(Path(out_dir) / "sources.bib", exports.bibtex(results))
    _put(Path(out_dir) / "badge.svg", exports.badge(results))
    _put(Path(out_dir) / "junit.xml", exports.junit(results))
    _put(Path(out_dir) / "report.html", page(results))
    return results


def _put(path: Path, text: str) -> None:
    """A reader sees the old file or the new one, never a part."""
    partial = path.with_name(f"{path.name}.tmp")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
