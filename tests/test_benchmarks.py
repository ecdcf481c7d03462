"""The benchmarks themselves: asv finds no fault with them, and they run on the tree as it is."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def asv(*arguments):
    command = [sys.executable, "-m", "asv", *arguments, "--python=same"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def test_asv_finds_no_fault_with_the_suite():
    done = asv("check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_quick_run():
    done = asv("run", "--quick", "--dry-run", "--bench", r"Cold\.track_hvps|Tracked\.track_hvps")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed" not in done.stdout
    counts = [int(n) for n in re.findall(r"float\d\d \d+ +(\d+)", done.stdout)]
    assert len(counts) == 3
    assert all(5 < n < 40 for n in counts)
