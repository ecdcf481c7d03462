"""From a results file to a terminal table, one self-contained page, and the same for other readers and programs."""

import json
import os
from dataclasses import replace
from pathlib import Path

from eosbench.report.results import Results, ResultsError, read
from eosbench.report.terminal import summary

__all__ = ["Results", "ResultsError", "keep", "read", "summary", "write"]


def write(evidence_path: Path, out_dir: Path) -> Results:
    """Read a results file and write its report into a directory, each file at one stroke.

    The files are `claims.json`, `CLAIMS.md`, `errata.md`, `constants.md`, `sources.bib`, `badge.svg`, `junit.xml` and
    `report.html`.

    Raises:
        ResultsError: the results file cannot be read.
        OSError: the directory cannot be written.
    """
    # Drawing takes Matplotlib, which whoever only reads results need not load.
    from eosbench.report import exports
    from eosbench.report.claims_json import claims_json
    from eosbench.report.html import page

    results = replace(read(Path(evidence_path)), report=Path(out_dir) / "report.html")
    Path(out_dir).mkdir(parents=True, exist_ok=True)
    document = json.dumps(claims_json(results), allow_nan=False, ensure_ascii=False, indent=1) + "\n"
    _put(Path(out_dir) / "claims.json", document)
    _put_markdown(results, Path(out_dir))
    _put(Path(out_dir) / "sources.bib", exports.bibtex(results))
    _put(Path(out_dir) / "badge.svg", exports.badge(results))
    _put(Path(out_dir) / "junit.xml", exports.junit(results))
    _put(Path(out_dir) / "report.html", page(results))
    return results


def keep(results: Results, out_dir: Path) -> None:
    """Write the report's Markdown pages, `CLAIMS.md`, `errata.md` and `constants.md`, into a directory of the project.

    Raises:
        ResultsError: the run was not of all claims, or did not come to its end.
        OSError: the directory cannot be written.
    """
    if not results.complete:
        raise ResultsError(
            "these results are not those of a whole run, which alone are kept; run all claims to the end"
        )
    Path(out_dir).mkdir(parents=True, exist_ok=True)
    _put_markdown(results, Path(out_dir))


def _put_markdown(results: Results, directory: Path) -> None:
    from eosbench.report import markdown

    pages = {"CLAIMS.md": markdown.page, "errata.md": markdown.errata, "constants.md": markdown.constants}
    for name, page in pages.items():
        _put(directory / name, page(results))


def _put(path: Path, text: str) -> None:
    """A reader sees the old file or the new one, never a part."""
    partial = path.with_name(f"{path.name}.tmp")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
