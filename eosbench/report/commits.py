"""Which measured commit came before which: as git knows it, and else by their dates."""

import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True)
class Commit:
    """A commit that was measured: its hash, and its date in seconds since 1970."""

    hash: str
    date: float = field(compare=False)

    @property
    def short(self) -> str:
        return self.hash[:8]

    @property
    def day(self) -> str:
        return datetime.fromtimestamp(self.date, UTC).strftime("%Y-%m-%d")


class Order:
    """A partial order of commits: branches, and dates that are the same, leave open which came first.

    Attributes:
        commits: all of them, none before one that came before it.
        unknown: those that git does not find in any branch, and that hence come before and after none.
        notes: what is uncertain about the order, a sentence each.
    """

    def __init__(self, commits: Iterable[Commit], places: Iterable[Path]) -> None:
        """The order of commits in the first of these places that is in a repository which has some of them."""
        by_date = sorted(set(commits), key=lambda commit: (commit.date, commit.hash))
        names = {commit.hash for commit in by_date}
        known = next((found for place in places if (found := _ancestors(place, names))), None)
        dated = known is None
        if known is None:
            starts = [next(i for i, first in enumerate(by_date) if first.date == commit.date) for commit in by_date]
            known = {commit.hash: (1 << start) - 1 for commit, start in zip(by_date, starts, strict=True)}
        of = {commit.hash: commit for commit in by_date}
        self.unknown = tuple(commit for commit in by_date if commit.hash not in known)
        self.commits = (*(of[name] for name in known), *self.unknown)
        self.notes = list(_uncertain(by_date, dated, self.unknown))
        # Bit i of a number stands for the commit at place i: so the nearest before another is found at once.
        self._place = {commit.hash: i for i, commit in enumerate(self.commits)}
        self._before = [*known.values(), *(0 for _ in self.unknown)]

    def before(self, commit: Commit, among: Iterable[str]) -> list[Commit]:
        """The nearest of some commits, given by their hashes, before this one: several where branches were merged."""
        left = self._before[self._place[commit.hash]] & _bits(self._place[name] for name in among)
        found = []
        while left:
            nearest = left.bit_length() - 1
            found.append(self.commits[nearest])
            left &= ~(self._before[nearest] | 1 << nearest)
        return found

    def last(self, among: Iterable[Commit]) -> list[Commit]:
        """Those of some commits that came before none of the others: one, or one of each branch."""
        places = [self._place[commit.hash] for commit in among if commit not in self.unknown]
        passed = 0
        for place in places:
            passed |= self._before[place]
        return [self.commits[place] for place in sorted(places) if not passed >> place & 1]


def _uncertain(by_date: list[Commit], dated: bool, unknown: Iterable[Commit]) -> Iterator[str]:
    if dated and len(by_date) > 1:
        yield (
            "The order of the commits is that of their dates, for no repository here has them in its history; run this "
            "in a full clone of theirs"
        )
        for date, n in Counter(commit.date for commit in by_date).items():
            if n > 1:
                names = " and ".join(commit.short for commit in by_date if commit.date == date)
                yield f"Which of {names} came first is unknown: they have one date"
    for commit in unknown:
        yield f"{commit.short} is in no branch of the repository, and is compared with nothing"


def _ancestors(place: Path, wanted: set[str]) -> dict[str, int] | None:
    """The wanted commits that are in a branch, older ones first, and which of them came before each, as bits.

    None where no repository has any, or a shallow one lacks some.
    """
    history = _git(place, "rev-list", "--all", "HEAD", "--topo-order", "--reverse", "--parents") or ""
    reached: dict[str, int] = {}  # from every commit: what came before it, and itself if it is wanted
    found: dict[str, int] = {}
    for line in history.splitlines():
        name, *parents = line.split()
        before = 0
        for parent in parents:
            before |= reached.get(parent, 0)
        reached[name] = before
        if name in wanted:
            reached[name] |= 1 << len(found)
            found[name] = before
    lacking = len(found) < len(wanted) and _git(place, "rev-parse", "--is-shallow-repository") != "false"
    return None if lacking or not found else found


def _bits(places: Iterable[int]) -> int:
    bits = 0
    for place in places:
        bits |= 1 << place
    return bits


def _git(place: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(place), *arguments], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
