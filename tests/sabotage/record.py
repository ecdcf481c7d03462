"""What became of each planted error, kept from run to run: all of them take hours, and a change concerns a few."""

import dataclasses
import hashlib
import json
import subprocess
from pathlib import Path
from typing import NamedTuple

from .plants import ROOT, Plant

RECORD = ROOT / "docs" / "results" / "sabotage.json"
PAGE = ROOT / "docs" / "results" / "sabotage.md"


class Seen(NamedTuple):
    """The last time that an error was planted.

    Attributes:
        digest: of the error as it was; another one is another error, and was not seen.
        noticed: whether the run failed.
        commit: on which.
    """

    digest: str
    noticed: bool
    commit: str


def digest(plant: Plant) -> str:
    return hashlib.sha256(json.dumps(dataclasses.asdict(plant), sort_keys=True).encode()).hexdigest()[:12]


def commit() -> str:
    """The commit that is checked out, with a plus where the project differs from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":!docs/results")
    return git("rev-parse", "--short=7", "HEAD") + ("+" if changed else "")


def read(file: Path = RECORD) -> dict[str, Seen]:
    """By the description of the error; empty where there is no file."""
    if not file.exists():
        return {}
    return {error: Seen(**entry) for error, entry in json.loads(file.read_text(encoding="utf-8")).items()}


def write(record: dict[str, Seen], plants: list[Plant], file: Path = RECORD, page: Path = PAGE) -> None:
    """The record of those errors that are still in the tables, and the page that shows it."""
    kept = {plant.error: record[plant.error] for plant in plants if is_seen(plant, record)}
    lines = (f"{json.dumps(error)}: {json.dumps(seen._asdict())}" for error, seen in kept.items())
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    page.write_text(table(plants, kept), encoding="utf-8")


def is_seen(plant: Plant, record: dict[str, Seen]) -> bool:
    """Whether this very error was planted."""
    return plant.error in record and record[plant.error].digest == digest(plant)


def table(plants: list[Plant], record: dict[str, Seen]) -> str:
    """The smallest error that each claim notices, and all errors by the run that notices them, as a page."""
    noticed = [plant for plant in plants if plant.error in record and record[plant.error].noticed]
    survived = [plant for plant in plants if plant.error in record and not record[plant.error].noticed]
    unseen = [plant for plant in plants if plant.error not in record]
    lines = [
        "# Planted errors",
        "",
        "Each of these was planted on its own, and the run beside it was seen to fail, on the commit that is named.",
        "`tox -e sabotage` plants those that are new or were changed, and writes this page; `-- --again` plants",
        "all. Every run of the tests plants a tenth of them, another one each day.",
        "",
        f"{len(plants)} errors: {len(noticed)} noticed, {len(survived)} survived, {len(unseen)} not planted yet.",
        "",
        "## The smallest error of a number that each claim notices",
        "",
        "| claim | error | part of the number | noticed in all |",
        "|---|---|---|---|",
    ]
    for claim in sorted({plant.claim for plant in noticed if plant.claim}):
        of_claim = [plant for plant in noticed if plant.claim == claim]
        sized = sorted((plant.size, plant.error) for plant in of_claim if plant.size is not None)
        size, error = (f"{sized[0][0]:.3g}", sized[0][1]) if sized else ("none was planted", "")
        lines.append(f"| {claim} | {error} | {size} | {len(of_claim)} |")
    for title, found in (("Survived", survived), ("Not planted yet", unseen), ("Noticed", noticed)):
        runs = sorted({plant.noticed_by for plant in found})
        if runs:
            lines += ["", f"## {title}", "", "| by `pytest` | error | in | on |", "|---|---|---|---|"]
        for name in runs:
            for plant in found:
                if plant.noticed_by == name:
                    on = record[plant.error].commit if plant.error in record else ""
                    lines.append(f"| `{name}` | {plant.error} | `{plant.file}` | {on} |")
    return "\n".join(lines) + "\n"
