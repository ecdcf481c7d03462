"""Claims become pytest items where a module is collected, one for every case, control and counterexample."""

import functools
import inspect
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from eosbench import catalogue
from eosbench.claim import Case, Check, Claim, ClaimError, check_of
from eosbench.compiled import keep_compiled
from eosbench.extras import missing_claims
from eosbench.pytest_plugin.recorder import Plan

CASE = pytest.StashKey[tuple[Check, Case]]()
"""Of an item: the check that it runs, and the case."""

PLAN = pytest.StashKey[Plan]()
"""Of the session's configuration: what was collected."""


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> None:
    """Decide the precision before a module that states claims is imported."""
    if catalogue.states_claims(module_path):
        if sentence := missing_claims():
            raise pytest.UsageError(sentence)
        if hasattr(parent.config, "workerinput"):
            # Dense eigensolvers of several workers, each with a thread for every core, slow each other down tenfold.
            # JAX calls SciPy's, which reads this when it is first imported.
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

        import jax

        jax.config.update("jax_enable_x64", parent.config.getoption("--claims-dtype") == "float64")
        jax.config.update("jax_default_matmul_precision", "highest")
        keep_compiled()


def pytest_pycollect_makeitem(collector: Any, name: str, obj: Any) -> list[pytest.Item] | None:
    """The items of a check: one for every case, control and counterexample."""
    if not isinstance(collector, pytest.Module):
        return None
    if isinstance(obj, Claim):
        _require_in_reach(collector, obj)
        collector.config.stash[PLAN].add_claim(obj, _path_of(collector))
        return []
    check = check_of(obj)
    if check is None:
        if name.startswith("test") and callable(obj) and _claims_of(collector.obj):
            raise ClaimError(
                f"{name} belongs to no claim; decorate it with @claim.check(...), or move it to a file without claims"
            )
        return None
    if check.claim not in _claims_of(collector.obj):
        raise check.claim.error(f"{name} checks a claim that this file does not hold in a variable; assign it to one")
    return [_item(collector, name, check, case) for case in check.cases]


def _require_in_reach(collector: pytest.Module, claim: Claim) -> None:
    """A claim that the syntax tree does not show, or a check that the module does not hold, would be lost silently."""
    if not catalogue.states_claims(collector.path):
        raise claim.error("write `name = Claim(...)` at module level, where its precision is decided before the import")
    imported = getattr(collector.obj, "__file__", None)
    if imported and not os.path.samefile(imported, collector.path):
        raise claim.error(
            f"{imported} was imported in place of this file, since both are the module {collector.obj.__name__}; run "
            "them one after the other"
        )
    for check in claim.checks:
        name = check.function.__name__
        if check_of(vars(collector.obj).get(name)) is not check:
            raise claim.error(f"{name} is not the function of this name in its module; is it there twice, or nested?")


def _item(collector: pytest.Module, name: str, check: Check, case: Case) -> pytest.Item:
    bound = functools.partial(check.function, **case.params)
    bound.__dict__.update(vars(check.function))  # its marks
    label = f"{name}[{case.label}]" if case.label else name
    item: pytest.Function = pytest.Function.from_parent(collector, name=label, callobj=bound)
    _require_plain_fixtures(item, name, check)
    item.stash[CASE] = (check, case)
    item.extra_keyword_matches.update({check.claim.id, case.role})
    collector.config.stash[PLAN].add_case(item.nodeid, name, check.claim, case, check.proves)
    return item


def _require_plain_fixtures(item: pytest.Function, name: str, check: Check) -> None:
    """A case has its values from the grid alone: pytest would fail every case of a check that it is to multiply."""
    if item.get_closest_marker("parametrize"):
        raise check.claim.error(
            f"{name} has a mark `parametrize`, of its own or of its module; give the values to check(...) as a grid"
        )
    known = item._fixtureinfo.name2fixturedefs
    for fixture in item.fixturenames:
        if _has_params(fixture, known.get(fixture, ())):
            raise check.claim.error(
                f"{name} uses the fixture {fixture!r}, which has params; give its values to check(...) as a grid"
            )
        if fixture not in known and fixture != "request":
            asks = "takes" if fixture in inspect.signature(check.function).parameters else "uses a fixture that takes"
            raise check.claim.error(
                f"{name} {asks} {fixture!r}, which is no fixture; give it a value in check(...), a default, or write it"
            )


def _has_params(name: str, definitions: Sequence[pytest.FixtureDef[Any]]) -> bool:
    """Whether a fixture has params, or takes the one that it overrides and that has; the nearest definition is last."""
    for definition in reversed(definitions):
        if definition.params is not None:
            return True
        if name not in definition.argnames:
            return False
    return False


def _claims_of(module: ModuleType) -> list[Claim]:
    return [value for value in vars(module).values() if isinstance(value, Claim)]


def _path_of(collector: pytest.Collector) -> str:
    return collector.nodeid.partition("::")[0]


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, pytest.CollectReport]:
    """A claim that is stated wrongly is reported in one sentence, not with a traceback."""
    report = yield
    call = getattr(report, "call", None)
    if call is not None and call.excinfo is not None and isinstance(call.excinfo.value, ClaimError):
        report.longrepr = f"{_path_of(collector)}: {call.excinfo.value}"
    return report
