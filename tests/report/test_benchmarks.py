import json
import re

import pytest

from eosbench.report.benchmarks import BenchmarksError, read
from eosbench.report.benchmarks_page import complaints, headline, incomparable, page

COLUMNS = ["result", "params", "version", "started_at", "duration", "stats_q_25", "stats_q_75"]
BENCHMARKS = {
    "suite.Cold.track_hvps": {"version": "1", "unit": "unit"},
    "suite.Cold.track_error": {"version": "1", "unit": "relative"},
    "suite.Cold.time_solve": {"version": "1", "unit": "seconds"},
    "version": 2,
}


@pytest.fixture
def results(tmp_path):
    """A directory of results, and a function that adds those of a commit."""
    (tmp_path / "benchmarks.json").write_text(json.dumps(BENCHMARKS))
    machine = tmp_path / "two-cores"
    machine.mkdir()
    (machine / "machine.json").write_text(json.dumps({"cpu": "a CPU", "num_cpu": "2", "os": "Linux"}))
    dates = iter(range(1000))

    def add(commit, hvps=(12, 15), error=(1e-4, 2e-4), seconds=0.01, version="1"):
        params = [["'separated'", "'degenerate'"]]
        rows = {
            "suite.Cold.track_hvps": [list(hvps), params, version, 0, 0],
            "suite.Cold.track_error": [list(error), params, version, 0, 0],
            "suite.Cold.time_solve": [[seconds], [], version, 0, 0, [0.9 * seconds], [1.3 * seconds]],
        }
        saved = {
            "commit_hash": commit * 40,
            "date": 1000 * next(dates),
            "env_name": "virtualenv-jax",
            "result_columns": COLUMNS,
            "results": rows,
        }
        (machine / f"{commit * 8}-env.json").write_text(json.dumps(saved))
        return tmp_path

    return add


def test_values_with_their_parameters_and_quartiles(results):
    (machine,) = read(results("a"))
    assert [series.name for series in machine.series] == [
        "suite.Cold.time_solve",
        "suite.Cold.track_error(degenerate)",
        "suite.Cold.track_error(separated)",
        "suite.Cold.track_hvps(degenerate)",
        "suite.Cold.track_hvps(separated)",
    ]
    time = machine.series[0].values["a" * 40]
    assert (time.value, time.low, time.high) == pytest.approx((0.01, 0.009, 0.013))
    assert machine.series[3].values["a" * 40].value == 15
    assert machine.facts == "a CPU, 2 cores, Linux"


def test_an_identical_commit_is_no_regression(results):
    for commit in "abcd":
        (machine,) = read(results(commit))
        assert not machine.regressions


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param({"hvps": (12, 16)}, "track_hvps(degenerate): 15 at aaaaaaaa, 16 at bbbbbbbb", id="one product"),
        pytest.param({"error": (1e-4, 5e-4)}, "track_error(degenerate): 0.0002 at", id="a larger error"),
        pytest.param({"hvps": (11, 12), "error": (1e-3, 2e-4)}, "track_error(separated)", id="cheaper and worse"),
    ],
)
def test_a_worse_count_or_error_is_one(results, change, told):
    results("a")
    (machine,) = read(results("b", **change))
    (regression,) = machine.latest
    assert told in regression.sentence


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"hvps": (10, 15)}, id="fewer products"),
        pytest.param({"error": (1.9e-4, 2e-4)}, id="not twice the error"),
        pytest.param({"seconds": 10.0}, id="a slow machine"),
        pytest.param({"hvps": (99, 99), "version": "2"}, id="a benchmark that reads otherwise now"),
        pytest.param({"hvps": (None, float("nan"))}, id="a benchmark that failed"),
    ],
)
def test_what_is_none(results, change):
    results("a")
    (machine,) = read(results("b", **change))
    assert not machine.regressions


def test_a_gap_does_not_hide_a_regression(results):
    results("a")
    results("b", hvps=(None, None))
    (machine,) = read(results("c", hvps=(13, 15)))
    assert [regression.before.short for regression in machine.latest] == ["aaaaaaaa"]


def test_what_is_no_longer_measured_is_no_pass(results):
    results("a")
    machines = read(results("b", hvps=(12, None)))
    assert [series.parameters for series in machines[0].missing] == ["degenerate"]
    assert "track_hvps(degenerate): no longer measured at bbbbbbbb" in page(machines)
    assert headline(machines) == "1 regression at bbbbbbbb"


def test_one_commit_has_nothing_to_be_compared_with(results):
    assert headline(read(results("a"))) == "One commit was measured, aaaaaaaa: there is nothing to compare it with"


def test_only_the_last_commit_counts_for_the_status(results):
    results("a")
    results("b", hvps=(20, 20))
    (machine,) = read(results("c", hvps=(20, 20)))
    assert len(machine.regressions) == 2
    assert not machine.latest
    assert headline([machine]) == "No count and no error is worse at cccccccc than at the commit before, of 4 compared"


@pytest.mark.parametrize("nothing", [{"version": "2"}, {"hvps": (None,) * 2, "error": (float("nan"),) * 2}])
def test_a_commit_of_which_nothing_was_compared_has_not_passed(results, nothing):
    results("a", **nothing)
    machines = read(results("b", **nothing))
    assert complaints(machines) == [
        "two-cores: no count and no error of bbbbbbbb can be compared with one before; measure with `asv run`"
    ]
    assert headline(machines) == "No count and no error was compared at bbbbbbbb"


def test_what_is_new_or_reads_otherwise_now_is_listed(results):
    results("a", hvps=(None, 15), error=(1e-4, None))
    machines = read(results("b"))
    assert incomparable(machines) == [
        "suite.Cold.track_error(degenerate): new or changed at bbbbbbbb, nothing to compare with",
        "suite.Cold.track_hvps(separated): new or changed at bbbbbbbb, nothing to compare with",
    ]
    assert "track_hvps(separated): new or changed" in page(machines)
    assert headline(machines).endswith("of 2 compared")
    assert not complaints(machines)


def test_the_page_asks_nothing_and_marks_what_is_worse(results):
    results("a")
    machines = read(results("b", hvps=(14, 15)))
    text = page(machines)
    assert "1 regression at bbbbbbbb" in text
    assert text.count('class="red"') == 1
    assert "10.0 ± 2.0 ms" in text
    assert not re.search(r"(src|href)=.https?:|url\((?!#)", text)
    assert page(machines) == text


def test_slips_are_told_in_one_sentence(tmp_path, results):
    with pytest.raises(BenchmarksError, match="holds no results of asv; measure"):
        read(tmp_path / "elsewhere")
    with pytest.raises(BenchmarksError, match="no results of any commit"):
        read(tmp_path)
    results("a")
    (tmp_path / "two-cores" / "bbbbbbbb-env.json").write_text("{")
    with pytest.raises(BenchmarksError, match=r"bbbbbbbb-env\.json cannot be read; remove it"):
        read(tmp_path)
    whole = {"commit_hash": "b", "date": 1, "env_name": "e", "result_columns": COLUMNS, "results": {}}
    name = "suite.Cold.track_hvps"
    for damage in (
        {"result_columns": None, "results": {name: []}},
        {"date": "yesterday"},
        {"results": []},
        {"results": {name: None}},
        {"results": {name: [["many"], [], "1"]}},
    ):
        (tmp_path / "two-cores" / "bbbbbbbb-env.json").write_text(json.dumps(whole | damage))
        with pytest.raises(BenchmarksError, match=r"bbbbbbbb-env\.json is no result of asv; remove it"):
            read(tmp_path)
