"""The benchmarks themselves: asv finds no fault with them, and they run on the tree as it is."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Seconds after which asv counts as hung. Its longest run takes thirty-five on two idle cores, most of them compiling.
PATIENCE = 600


@pytest.fixture
def asv(tmp_path):
    """asv on a machine that it has not seen before, writing nothing into the working tree."""
    config = json.loads((ROOT / "asv.conf.json").read_text())
    elsewhere = {"repo": str(ROOT), "benchmark_dir": str(ROOT / config["benchmark_dir"]), "results_dir": "results"}
    (tmp_path / "asv.conf.json").write_text(json.dumps(config | elsewhere))

    def run(*arguments):
        command = [sys.executable, "-m", "asv", "--config", str(tmp_path / "asv.conf.json"), *arguments]
        home = os.environ | {"HOME": str(tmp_path)}
        return subprocess.run(command, cwd=ROOT, env=home, capture_output=True, text=True, timeout=PATIENCE)

    assert run("machine", "--yes").returncode == 0
    return run


def test_asv_finds_no_fault_with_the_suite(asv):
    done = asv("check", "--python=same")
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_quick_run(asv):
    chosen = r"Cold\.track_hvps|Tracked\.track_hvps|timeraw_list"
    done = asv("run", "--python=same", "--quick", "--dry-run", "--bench", chosen)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed" not in done.stdout
    counts = [int(n) for n in re.findall(r"float\d\d \d+ +(\d+)", done.stdout)]
    assert len(counts) == 3
    assert all(5 < n < 40 for n in counts)
    assert re.search(r"timeraw_list +\d", done.stdout)
