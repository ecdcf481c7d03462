"""The code of docs/optimizers.md runs as it stands, in a row, and prints what stands beside it."""

import re
from pathlib import Path

import jax
import pytest

PAGE = Path(__file__).parents[1] / "docs" / "optimizers.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_it_prints_the_lines_that_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    with jax.numpy_dtype_promotion("standard"):  # as a reader has it, and optax's Adam promotes by itself
        for block in BLOCKS:
            exec(compile(block, PAGE.name, "exec"), names)
    *lines, distance, line = capsys.readouterr().out.splitlines()
    said = re.findall(r"print\(.*?  # (.*)", BLOCKS[0])
    assert len(lines) == len(said) == 4
    assert [printed for printed, words in zip(lines, said, strict=True) if not printed.startswith(words[:-4])] == []
    assert 0.8 < float(distance.split()[0]) < 1.2
    assert line.startswith("line 12666.7 = 38/eta, the run ")
    last = float(names["distance"][-1])
    assert float(line.split()[-1]) == pytest.approx(38 / 0.003 * last, rel=1e-5)
    assert (tmp_path / "adam.svg").exists()
