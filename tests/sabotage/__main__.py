"""Plants errors, prints which were noticed, and fails if one survives.

Words choose the errors whose description, file or run contains one of them. Of these, those are planted that are new or
were changed since they were planted last; all of them with `--again`. What became of each is kept in
docs/results/sabotage.json as soon as it is known, so that a run that is interrupted loses nothing, and the page beside
it shows it.
"""

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from . import record
from .plants import Plant, is_noticed, plants, run

AT_ONCE = 2


def main(arguments: list[str]) -> int:
    """Plant the chosen errors, two at a time."""
    parser = argparse.ArgumentParser(prog="python -m tests.sabotage", description=__doc__)
    parser.add_argument("words", nargs="*", help="Plant those errors alone that have one of these words.")
    parser.add_argument("--again", action="store_true", help="Plant also what was planted before.")
    asked = parser.parse_args(arguments)
    words = asked.words
    everything, seen, commit = plants(), record.read(), record.commit()
    chosen = [plant for plant in everything if not words or any(word in repr(plant) for word in words)]
    if not asked.again:
        chosen = [plant for plant in chosen if not record.is_seen(plant, seen)]
    survivors: list[Plant] = []
    with tempfile.TemporaryDirectory() as compiled, ThreadPoolExecutor(AT_ONCE) as pool:
        attempts = {pool.submit(attempt, plant, Path(compiled)): plant for plant in chosen}
        for done in as_completed(attempts):
            plant, (status, output) = attempts[done], done.result()
            noticed = is_noticed(status)
            print(f"{'noticed ' if noticed else 'SURVIVED'}  {plant.error}  ({plant.file})", flush=True)
            if not noticed:
                survivors.append(plant)
                print(f"  pytest {plant.noticed_by}: status {status}\n{output}", flush=True)
            seen[plant.error] = record.Seen(record.digest(plant), noticed, commit)
            record.write(seen, everything)
    print(f"{len(chosen)} planted, {len(chosen) - len(survivors)} noticed, {len(survivors)} survived.")
    for plant in survivors:
        print(f"  {plant.error}  ({plant.file}, pytest {plant.noticed_by})")
    survived = [plant for plant in everything if record.is_seen(plant, seen) and not seen[plant.error].noticed]
    unseen = [plant for plant in everything if not record.is_seen(plant, seen)]
    told = f"{len(survived)} survived when they were planted last, {len(unseen)} are new or changed"
    print(f"Of all {len(everything)}: {told}.")
    return 1 if survivors else 0


def attempt(plant: Plant, compiled: Path) -> tuple[int, str]:
    with tempfile.TemporaryDirectory() as folder:
        return run(plant, Path(folder), compiled)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
