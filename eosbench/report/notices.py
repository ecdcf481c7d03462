"""What a reader is told before the verdicts: the result in one sentence, and whatever kept the run from being whole."""

from dataclasses import dataclass

from eosbench.records import CaseRecord
from eosbench.report.notation import plural
from eosbench.report.results import Results, claims_of


@dataclass(frozen=True)
class Notice:
    """Something a reader must know before the verdicts: a run that is not whole, a drift, a crash."""

    kind: str
    sentence: str
    claims: tuple[str, ...] = ()
    details: tuple[str, ...] = ()


def headline(results: Results) -> str:
    """The result in one sentence, and in another how many of the printed statements are off by how much."""
    return " ".join(filter(None, (_outcome(results), _news(results))))


def _news(results: Results) -> str:
    """The statements that do not hold as printed, the news first; nothing where no severity is known."""
    counts = results.severities
    if not counts:
        return ""
    words = {
        "false": lambda n: f"{n} {'is' if n == 1 else 'are'} false",
        "wrong constant": lambda n: f"{n} {'has' if n == 1 else 'have'} a wrong constant",
        "missing hypothesis": lambda n: f"{n} {'lacks' if n == 1 else 'lack'} a hypothesis",
        "slip": lambda n: f"{n} {'is a slip' if n == 1 else 'are slips'}",
    }
    off = sum(counts.values())
    told = _listed([words[severity](n) for severity, n in counts.items()])
    return f"As printed, {off} {'does' if off == 1 else 'do'} not hold: {told}."


def _outcome(results: Results) -> str:
    n = len(results.claims)
    standing = results.standing
    if not n:
        return "No claim was collected."
    if set(standing) == {"as expected"}:
        return "The one claim came out as expected." if n == 1 else f"All {n} claims came out as expected."
    words = {
        "as expected": lambda n: f"{n} came out as expected",
        "drifted": lambda n: f"{n} drifted from expectation",
        "only in part": lambda n: f"{n} ran only in part",
        "not run": lambda n: f"{n} {_was(n)} not run",
        "out of scope": lambda n: f"{n} {_was(n)} out of scope",
    }
    parts = [words[word](count) for word, count in standing.items()]
    return f"Of {plural(n, 'claim')}, {_listed(parts)}."


def _listed(parts: list[str]) -> str:
    return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]


def notices(results: Results) -> list[Notice]:
    """What a reader must know first, the gravest first."""
    return [
        *_drift(results),
        *_collect_errors(results),
        *_cases(results),
        *_unfinished(results),
        *_partial(results),
        *_environment(results),
        *_kept(results),
    ]


def _drift(results: Results) -> list[Notice]:
    if not results.drifted:
        return []
    drifted = tuple(claim.id for claim in results.drifted)
    return [Notice("drift", f"{plural(len(drifted), 'claim')} did not reach the expected verdict.", drifted)]


def _collect_errors(results: Results) -> list[Notice]:
    errors = results.collect_errors
    if not errors:
        return []
    sentence = f"{plural(len(errors), 'file')} could not be collected; their claims are missing."
    return [Notice("collect error", sentence, details=tuple(f"{error.file}: {error.message}" for error in errors))]


def _cases(results: Results) -> list[Notice]:
    """Cases that crashed, were lost, or ran more than once."""
    crashed, lost = results.with_status("crashed"), results.with_status("lost")
    again = [case for case in results.cases if case.attempts > 1]
    told = (
        ("crash", crashed, f"{plural(len(crashed), 'case')} died in mid-run.", _told),
        ("lost", lost, f"{plural(len(lost), 'case')} {_was(len(lost))} selected but never reported.", _told),
        (
            "run again",
            again,
            f"{plural(len(again), 'case')} ran more than once; of each, the last attempt counts.",
            lambda case: f"{case.nodeid}: attempt {case.attempts}",
        ),
    )
    return [
        Notice(kind, sentence, claims_of(cases), tuple(map(tell, cases)))
        for kind, cases, sentence, tell in told
        if cases
    ]


def _unfinished(results: Results) -> list[Notice]:
    if results.outcome == "finished":
        return []
    endings = {
        "interrupted": "The run was interrupted.",
        "stopped early": "The run stopped early, as asked (-x or --maxfail).",
        "killed": "The run was killed: its results file has no end.",
    }
    return [Notice("unfinished", endings.get(results.outcome, f"The run ended as: {results.outcome}."))]


def _partial(results: Results) -> list[Notice]:
    if not results.subset:
        return []
    planned = list(results.cases)
    selected = sum(case.status != "deselected" for case in planned)
    asked = " ".join(map(str, results.run.selection.get("args", ())))
    # A claim that was collected has cases, or is out of scope.
    beside = sum(not claim.cases and not claim.claim.out_of_scope for claim in results.claims)
    sentence = f"A partial run: {selected} of {plural(len(planned), 'planned case')} selected"
    if beside:
        sentence += f", and {plural(beside, 'claim')} of other files there not asked for"
    return [Notice("partial", sentence + (f" (pytest {asked})." if asked else "."))]


def _environment(results: Results) -> list[Notice]:
    known, told = results.environment, []
    if known.get("scale", "small") != "small":
        told.append(Notice("scale", f"Experiments that have two sizes ran at that of the {known['scale']}."))
    if known.get("dirty"):
        on_top = f" on top of commit {str(known['commit'])[:12]}" if known.get("commit") else ""
        told.append(Notice("dirty", f"The working tree had uncommitted changes{on_top}."))
    return told


def _kept(results: Results) -> list[Notice]:
    """What was not run again, the last run first."""
    runs: dict[str, list[str]] = {}
    for claim in results.claims:
        if claim.claim.kept is not None:
            runs.setdefault(claim.claim.kept, []).append(claim.id)
    return [
        Notice("kept", f"{plural(len(ids), 'claim')} {_was(len(ids))} kept from the run of {run}.", tuple(sorted(ids)))
        for run, ids in sorted(runs.items(), reverse=True)
    ]


def _was(n: int) -> str:
    return "was" if n == 1 else "were"


def _told(case: CaseRecord) -> str:
    return f"{case.nodeid}: {case.message}" if case.message else case.nodeid
