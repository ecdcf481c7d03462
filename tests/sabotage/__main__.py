"""Plants every error, prints which were noticed, and fails if one survives: `python -m tests.sabotage [words]`.

Words choose the errors whose description, file or run contains one of them. With all of them, the table is written to
docs/results/sabotage.md.
"""

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .plants import ROOT, Plant, is_noticed, plants, run

AT_ONCE = 2


def main(words: list[str]) -> int:
    """Plant the chosen errors, two at a time."""
    chosen = [plant for plant in plants() if not words or any(word in repr(plant) for word in words)]
    noticed: list[Plant] = []
    survivors: list[Plant] = []
    with tempfile.TemporaryDirectory() as compiled, ThreadPoolExecutor(AT_ONCE) as pool:
        attempts = pool.map(lambda plant: attempt(plant, Path(compiled)), chosen)
        for plant, (status, output) in zip(chosen, attempts, strict=True):
            (noticed if is_noticed(status) else survivors).append(plant)
            print(f"{'noticed ' if is_noticed(status) else 'SURVIVED'}  {plant.error}  ({plant.file})", flush=True)
            if not is_noticed(status):
                print(f"  pytest {plant.noticed_by}: status {status}\n{output}", flush=True)
    print(f"{len(chosen)} planted, {len(noticed)} noticed, {len(survivors)} survived.")
    for plant in survivors:
        print(f"  {plant.error}  ({plant.file}, pytest {plant.noticed_by})")
    if not words:
        (ROOT / "docs" / "results" / "sabotage.md").write_text(table(noticed, survivors), encoding="utf-8")
    return 1 if survivors or not chosen else 0


def attempt(plant: Plant, compiled: Path) -> tuple[int, str]:
    with tempfile.TemporaryDirectory() as folder:
        return run(plant, Path(folder), compiled)


def table(noticed: list[Plant], survivors: list[Plant]) -> str:
    """The smallest error that each claim notices, and all errors by the run that notices them, as a page."""
    lines = [
        "# Planted errors",
        "",
        "Each of these was planted on its own, and the run beside it was seen to fail. `tox -e sabotage` plants them",
        "all again and writes this page; every run of the tests plants a tenth of them, another one each day.",
        "",
        f"{len(noticed) + len(survivors)} planted, {len(noticed)} noticed, {len(survivors)} survived.",
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
    for title, found in (("Survived", survivors), ("Noticed", noticed)):
        runs = sorted({plant.noticed_by for plant in found})
        if runs:
            lines += ["", f"## {title}", "", "| by `pytest` | error | in |", "|---|---|---|"]
        for name in runs:
            lines += [f"| `{name}` | {p.error} | `{p.file}` |" for p in found if p.noticed_by == name]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
