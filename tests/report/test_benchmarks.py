import json
import math
import os
import re
import shutil
import subprocess

import pytest

from eosbench.report.benchmarks import BenchmarksError, read
from eosbench.report.benchmarks_page import complaints, headline, page, remarks

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
    assert [series.parameters for series, _ in machines[0].missing] == ["degenerate"]
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


@pytest.mark.parametrize("before", [{"version": "2"}, {"hvps": (None,) * 2, "error": (float("nan"),) * 2}])
def test_a_commit_of_which_nothing_was_compared_has_not_passed(results, before):
    results("a", **before)
    machines = read(results("b"))
    assert complaints(machines)[-1:] == [
        "two-cores: no count and no error of bbbbbbbb can be compared with one before; measure with `asv run`"
    ]
    assert headline(machines) == "No count and no error was compared at bbbbbbbb"


def test_what_is_new_is_listed(results):
    results("a", hvps=(None, 15), error=(1e-4, None))
    machines = read(results("b"))
    assert remarks(machines)[1:] == [
        "suite.Cold.track_error(degenerate): new at bbbbbbbb, nothing to compare with",
        "suite.Cold.track_hvps(separated): new at bbbbbbbb, nothing to compare with",
    ]
    assert "track_hvps(separated): new at bbbbbbbb" in page(machines)
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


HVPS, ERROR, TIME = "suite.Cold.track_hvps", "suite.Cold.track_error", "suite.Cold.time_solve"


def row(result, params=(), *quartiles, name=HVPS):
    return {"results": {name: [result, list(params), "1", 0, 0, *quartiles]}}


DAMAGED = [
    ({"result_columns": None, "results": {HVPS: []}}, ""),
    ({"results": []}, ""),
    ({"results": {HVPS: None}}, ""),
    ({"env_name": None}, "env_name is None"),
    ({"commit_hash": None}, "commit_hash is None, and is no hash in full"),
    ({"commit_hash": "b" * 8}, "is no hash in full"),
    ({"commit_hash": "--all"}, "commit_hash is '--all', and is no hash in full"),
    ({"date": "yesterday"}, "date is 'yesterday', and is no number"),
    ({"date": True}, "date is True, and is no number"),
    ({"date": float("nan")}, "date is nan, and is no number of milliseconds since 1970"),
    ({"date": 1.7e18}, "date is 1.7e+18, and is no number of milliseconds"),
    ({"date": -1}, "date is -1, and is no number of milliseconds"),
    ({"date": 10**400}, "date has 401 digits"),
    (row(["many"]), f"{HVPS} is 'many', and is no number"),
    (row([True]), f"{HVPS} is True, and is no number"),
    (row([10**400]), f"{HVPS} has 401 digits"),
    (row([-3]), f"{HVPS} is -3, a negative count"),
    (row([-3.5], name=ERROR), f"{ERROR} is -3.5, a negative error"),
    (row([-3.5], name=TIME), "a negative time"),
    (row([[12]]), f"{HVPS} is [12], and is no number"),
    (row(12), f"{HVPS} has no list of values for 1 choices"),
    (row([12, 13]), f"{HVPS} has 2 values for 1 choices of its parameters"),
    (row([12], [["'a'", "'b'"]]), f"{HVPS} has 1 values for 2 choices of its parameters"),
    (row([12], ["'a'"]), f"{HVPS} has the parameters"),
    (row([12], [[1]]), f"{HVPS} has the parameters [[1]], and not a list of texts for each"),
    (row([0.1, 0.1], [["1", "2"]], [0.1], [0.2], name=TIME), f"{TIME} has 1 values for 2 choices"),
    (row([0.1], [], [0.1, 0.1], [0.2], name=TIME), f"{TIME} has 2 values for 1 choices"),
    (row([0.1], [], ["0.1"], [0.2], name=TIME), f"{TIME} is '0.1', and is no number"),
]


def test_slips_are_told_in_one_sentence(tmp_path, results):
    with pytest.raises(BenchmarksError, match="holds no results of asv; measure"):
        read(tmp_path / "elsewhere")
    with pytest.raises(BenchmarksError, match="no results of any commit"):
        read(tmp_path)
    results("a")
    (tmp_path / "two-cores" / "bbbbbbbb-env.json").write_text("{")
    with pytest.raises(BenchmarksError, match=r"bbbbbbbb-env\.json cannot be read; remove it"):
        read(tmp_path)
    whole = {"commit_hash": "b" * 40, "date": 1, "env_name": "e", "result_columns": COLUMNS, "results": {}}
    for damage, told in DAMAGED:
        (tmp_path / "two-cores" / "bbbbbbbb-env.json").write_text(json.dumps(whole | damage))
        with pytest.raises(BenchmarksError, match=r"bbbbbbbb-env\.json is no result of asv") as raised:
            read(tmp_path)
        assert told in str(raised.value)
        assert str(raised.value).endswith("; remove it, or measure again with `asv run`")
        assert len(str(raised.value)) < 400


# --- what could hide a regression ------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A directory of results, and a function that adds what one commit gave: values of one benchmark by its name."""
    directory = tmp_path / "repository" / "results"
    directory.mkdir(parents=True)
    (directory / "benchmarks.json").write_text(json.dumps({"T.track_hvps": {}, "T.track_error": {}}))
    monkeypatch.chdir(tmp_path)

    def add(commit, date=0, params=(), machine="here", environment="env", version="1", **values):
        (directory / machine).mkdir(exist_ok=True)
        columns = ["result", "params", "version"]
        rows = {
            f"T.track_{name}": [value if isinstance(value, list) else [value], list(params), version]
            for name, value in values.items()
        }
        found = {
            "commit_hash": commit if len(commit) == 40 else commit * 40,
            "date": 1000 * date,
            "env_name": environment,
            "result_columns": columns,
            "results": rows,
        }
        (directory / machine / f"{found['commit_hash'][:8]}-{environment}.json").write_text(json.dumps(found))
        return directory

    return add


@pytest.fixture
def repository(tmp_path):
    """A git repository, and a function that runs git in it; `commit` makes a commit of some date."""
    place = tmp_path / "repository"
    place.mkdir(exist_ok=True)

    def git(*arguments, date="2026-01-01T00:00:00Z"):
        stamp = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        who = {f"GIT_{role}_{what}": "a@b.c" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        command = ["git", "-C", str(place), *arguments]
        return subprocess.run(
            command, check=True, env=os.environ | stamp | who | alone, capture_output=True, text=True
        ).stdout.strip()

    def commit(date="2026-01-01T00:00:00Z"):
        git("commit", "--allow-empty", "-q", "-m", "a commit", date=date)
        return git("rev-parse", "HEAD")

    git("init", "-q", "-b", "main")
    git.commit = commit
    return git


PARAMETERS = {
    "that print alike": [["<f>", "<f>"]],
    "with commas": [["'a, b'", "'a'"], ["'c'", "'b, c'"]],
    "a number and its text": [["1", "'1'"]],
    "that print as nothing": [["''", "' '", "'', ''"]],
}


@pytest.mark.parametrize("params", PARAMETERS.values(), ids=PARAMETERS)
def test_each_choice_of_parameters_is_a_series_of_its_own(saved, params):
    n = math.prod(map(len, params))
    for worse in range(n):
        before = list(range(10, 10 + n))
        after = [count + 5 * (i == worse) for i, count in enumerate(before)]
        saved("a", 0, params, hvps=before)
        (machine,) = machines = read(saved("b", 1, params, hvps=after))
        assert len({series.name for series in machine.series}) == n
        (step,) = machine.latest
        assert f": {before[worse]} at aaaaaaaa, {after[worse]} at bbbbbbbb" in step.sentence
        assert page(machines).count('class="red"') == 1


def test_the_order_is_that_of_git_where_commits_have_one_date(saved, repository):
    """The hashes of git say nothing of the order, so that of three histories one at least sorts otherwise."""
    for i in range(3):
        first, second, third = (repository.commit("2026-01-01T00:00:00Z") for _ in range(3))
        saved(third, 1, hvps=15)
        saved(first, 1, hvps=10)
        machines = read(saved(second, 1, hvps=10))
        (machine,) = machines
        assert [commit.hash for commit in machine.commits[3 * i :]] == [first, second, third]
        assert complaints(machines) == [f"T.track_hvps: 10 at {second[:8]}, 15 at {third[:8]}"]
        assert remarks(machines) == []


def test_a_commit_with_an_earlier_date_is_the_last_where_git_says_so(saved, repository):
    early, late = "2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z"
    first, picked = repository.commit(late), repository.commit(early)
    saved(first, 200, hvps=10)
    machines = read(saved(picked, 100, hvps=15))
    assert complaints(machines) == [f"T.track_hvps: 10 at {first[:8]}, 15 at {picked[:8]}"]
    assert headline(machines) == f"1 regression at {picked[:8]}"


def branches(repository):
    """root - main, and root - side; then a merge of both."""
    root = repository.commit()
    repository("checkout", "-q", "-b", "side")
    side = repository.commit("2026-01-03T00:00:00Z")
    repository("checkout", "-q", "main")
    main = repository.commit("2026-01-02T00:00:00Z")
    repository("merge", "-q", "--no-ff", "-m", "merge", "side")
    return root, side, main, repository("rev-parse", "HEAD")


def test_a_commit_is_not_compared_with_one_of_another_branch(saved, repository):
    root, side, main, _ = branches(repository)
    saved(root, 0, hvps=10)
    saved(side, 2, hvps=15)
    machines = read(saved(main, 1, hvps=15))  # no worse than side, and worse than root
    assert sorted(complaints(machines)) == sorted(
        f"T.track_hvps: 10 at {root[:8]}, 15 at {commit[:8]}" for commit in (side, main)
    )
    saved(side, 2, hvps=8)
    machines = read(saved(main, 1, hvps=10))  # worse than side, and no worse than root
    assert complaints(machines) == []


def test_a_merge_is_compared_with_both_of_its_sides(saved, repository):
    root, side, main, merge = branches(repository)
    for commit, count in ((root, 12), (side, 10), (main, 12)):
        saved(commit, 0, hvps=count)
    machines = read(saved(merge, 0, hvps=11))
    assert complaints(machines) == [f"T.track_hvps: 10 at {side[:8]}, 11 at {merge[:8]}"]
    (machine,) = read(saved(merge, 0, hvps=10))
    assert machine.latest == []


def test_without_git_the_order_is_by_date_and_the_report_says_so(saved):
    saved("b", 1, hvps=10)
    machines = read(saved("a", 2, hvps=15))
    assert complaints(machines) == ["T.track_hvps: 10 at bbbbbbbb, 15 at aaaaaaaa"]
    (remark,) = remarks(machines)
    assert remark.startswith("The order of the commits is that of their dates, for no repository here has them")
    assert remark in page(machines)


def test_where_dates_tie_each_of_the_last_is_compared_and_the_report_says_so(saved):
    saved("a", 1, hvps=10)
    saved("b", 2, hvps=15)
    machines = read(saved("c", 2, hvps=10))
    assert complaints(machines) == ["T.track_hvps: 10 at aaaaaaaa, 15 at bbbbbbbb"]
    assert remarks(machines)[1:] == ["Which of bbbbbbbb and cccccccc came first is unknown: they have one date"]


def test_commits_that_all_have_one_date_have_not_passed(saved):
    saved("a", 1, hvps=10)
    machines = read(saved("b", 1, hvps=15))
    assert len(complaints(machines)) == 2
    assert headline(machines) == "No count and no error was compared at aaaaaaaa and bbbbbbbb"


def test_a_commit_that_is_in_no_branch_is_compared_with_nothing(saved, repository):
    """It was rebased away; git may still have it."""
    first = repository.commit()
    gone = repository.commit()
    repository("reset", "-q", "--hard", first)
    last = repository.commit("2026-01-02T00:00:00Z")
    saved(first, 0, hvps=10)
    saved(gone, 9, hvps=15)
    saved("f", 99, hvps=15)
    machines = read(saved(last, 1, hvps=12))
    assert complaints(machines) == [f"T.track_hvps: 10 at {first[:8]}, 12 at {last[:8]}"]
    assert remarks(machines) == [
        f"{name} is in no branch of the repository, and is compared with nothing" for name in (gone[:8], "f" * 8)
    ]


def test_a_last_commit_of_which_all_others_are_gone_has_not_passed(saved, repository):
    last = repository.commit()
    saved("f", 0, hvps=10)
    machines = read(saved(last, 1, hvps=15))
    assert complaints(machines) == [
        f"here: no count and no error of {last[:8]} can be compared with one before; measure with `asv run`"
    ]


def test_a_shallow_clone_does_not_know_the_order(saved, repository, tmp_path):
    commits = [repository.commit(f"2026-01-0{i}T00:00:00Z") for i in (1, 2, 3)]
    for i, commit in enumerate(commits):
        saved(commit, i, hvps=10 + 5 * (i == 2))
    source = (tmp_path / "repository").as_uri()
    subprocess.run(["git", "clone", "-q", "--depth", "2", source, str(tmp_path / "shallow")], check=True)
    shutil.copytree(tmp_path / "repository" / "results", tmp_path / "shallow" / "results")
    machines = read(tmp_path / "shallow" / "results")
    assert complaints(machines) == [f"T.track_hvps: 10 at {commits[1][:8]}, 15 at {commits[2][:8]}"]
    assert "that of their dates" in remarks(machines)[0]


def test_the_repository_may_be_that_of_the_working_directory(saved, repository, tmp_path, monkeypatch):
    first, second = repository.commit("2026-02-01T00:00:00Z"), repository.commit("2026-01-01T00:00:00Z")
    saved(first, 2, hvps=10)
    shutil.move(saved(second, 1, hvps=15), tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path / "repository")
    assert complaints(read(tmp_path / "elsewhere")) == [f"T.track_hvps: 10 at {first[:8]}, 15 at {second[:8]}"]


@pytest.mark.parametrize("nothing", [None, math.nan, math.inf])
def test_a_count_that_fails_at_the_last_commit_is_missed(saved, nothing):
    saved("a", 0, hvps=10, error=0.1)
    machines = read(saved("b", 1, hvps=nothing, error=0.1))
    assert complaints(machines) == ["T.track_hvps: no longer measured at bbbbbbbb"]


def test_a_count_that_was_left_out_before_is_missed_all_the_same(saved):
    """Of the commit between, only one benchmark was measured."""
    saved("a", 0, hvps=10, error=0.1)
    saved("b", 1, error=0.1)
    machines = read(saved("c", 2, error=0.1))
    assert complaints(machines) == ["T.track_hvps: no longer measured at cccccccc"]


def test_a_benchmark_that_was_renamed_is_missed_once(saved):
    saved("a", 0, hvps=10, error=0.1)
    directory = saved("b", 1, hvps_of_all=15, error=0.1)
    (directory / "benchmarks.json").write_text(json.dumps({"T.track_hvps_of_all": {}, "T.track_error": {}}))
    machines = read(directory)
    assert complaints(machines) == ["T.track_hvps: no longer measured at bbbbbbbb"]
    assert remarks(machines)[1:] == ["T.track_hvps_of_all: new at bbbbbbbb, nothing to compare with"]
    assert complaints(read(saved("c", 2, hvps_of_all=15, error=0.1))) == []


def test_a_parameter_that_was_dropped_is_missed_once(saved):
    saved("a", 0, [["1", "2"]], hvps=[10, 10])
    directory = saved("b", 1, [["1"]], hvps=[10])
    (directory / "benchmarks.json").write_text(json.dumps({"T.track_hvps": {"params": [["1"]]}}))
    assert complaints(read(directory)) == ["T.track_hvps(2): no longer measured at bbbbbbbb"]
    assert complaints(read(saved("c", 2, [["1"]], hvps=[10]))) == []


def test_a_benchmark_that_changed_has_not_passed_until_the_commit_before_is_measured_again(saved):
    saved("a", 0, hvps=10, error=0.1)
    saved("b", 1, hvps=15, version="2")
    machines = read(saved("c", 2, hvps=15, error=0.1, version="1"))
    assert complaints(machines) == ["T.track_hvps: 10 at aaaaaaaa, 15 at cccccccc"]  # of version 1 both
    machines = read(saved("c", 2, hvps=15, error=0.1, version="2"))
    assert complaints(machines) == [
        "T.track_error: 0.1 at aaaaaaaa, 0.1 at cccccccc, by another version of the benchmark; measure aaaaaaaa again "
        "with `asv run`"
    ]
    assert headline(machines).endswith("of 1 compared; 1 changed and could not be")
    assert page(machines).count('title="of a former version of this benchmark"') == 2
    assert complaints(read(saved("a", 0, hvps=15, error=0.1, version="2"))) == []


@pytest.mark.parametrize("renamed", ["machine", "environment"])
def test_a_machine_or_an_environment_that_was_renamed_has_not_passed(saved, renamed):
    saved("a", 0, hvps=10)
    saved("b", 1, hvps=10)
    machines = read(saved("c", 2, hvps=15, **{renamed: "there"}))
    name = "there" if renamed == "machine" else "here"
    assert complaints(machines) == [
        f"{name}: no count and no error of cccccccc can be compared with one before; measure with `asv run`"
    ]
    assert remarks(machines)[1:] == ["here, env: cccccccc was not measured there"]
    assert headline(machines) == "No count and no error was compared at cccccccc"


def test_two_environments_are_compared_each_with_itself(saved):
    for environment, count in (("py3.11", 10), ("py3.12", 20)):
        saved("a", 0, hvps=count, environment=environment)
        directory = saved("b", 1, hvps=count, environment=environment)
    assert complaints(read(directory)) == []
    machines = read(saved("b", 1, hvps=15, environment="py3.11"))
    assert complaints(machines) == ["T.track_hvps: 10 at aaaaaaaa, 15 at bbbbbbbb"]


def test_two_files_of_one_commit_in_one_environment_are_refused(saved):
    saved("a", 0, hvps=10)
    directory = saved("b", 1, hvps=15)
    shutil.copy(directory / "here" / "aaaaaaaa-env.json", directory / "here" / "copy.json")
    with pytest.raises(
        BenchmarksError, match=r"copy\.json and .*aaaaaaaa-env\.json are of one commit in one environment"
    ):
        read(directory)
    (directory / "here" / "copy.json").unlink()
    with pytest.raises(BenchmarksError, match="gives its commit another date than a file before"):
        read(saved("b", 7, hvps=15, machine="there"))


def test_a_large_count_is_shown_short(saved):
    saved("a", 0, hvps=1e300)
    text = page(read(saved("b", 1, hvps=2e300)))
    assert '▲ </span><span class="hidden">regression: </span>2e300' in text
