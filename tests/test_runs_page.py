"""The code of docs/runs.md runs as it stands, in a row, with writers of logs that keep what they are given."""

import re
import sys
import types
from pathlib import Path

import pytest

BLOCKS = re.findall(
    r"```python\n(.*?)```", (Path(__file__).parents[1] / "docs" / "runs.md").read_text(), flags=re.DOTALL
)


class Writer:
    """As `tensorboardX.SummaryWriter` takes it, and as a run of wandb does."""

    def __init__(self, *arguments, **options):
        self.written = {}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def add_scalar(self, tag, value, step):
        self.written[tag, step] = value

    def log(self, data, step):
        self.written |= {(tag, step): value for tag, value in data.items()}


@pytest.fixture(scope="module")
def after(tmp_path_factory):
    """The names that the page leaves, and what was written to the two logs."""
    pytest.importorskip("xarray", reason="xarray is not installed; install the extra notebook.")
    writers = {"tensorboardX": Writer(), "wandb": Writer()}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("runs"))
        stand_ins = {"tensorboardX": {"SummaryWriter": lambda *_: writers["tensorboardX"]},
                     "wandb": {"init": lambda **_: writers["wandb"]}}  # fmt: skip
        for name, content in stand_ins.items():
            module = types.ModuleType(name)
            vars(module).update(content)
            patch.setitem(sys.modules, name, module)
        names = {}
        for block in BLOCKS:
            exec(compile(block, "docs/runs.md", "exec"), names)
        names["there"] = {path.name for path in Path().iterdir()}
    return names, {name: writer.written for name, writer in writers.items()}


@pytest.mark.parametrize("log", ["tensorboardX", "wandb"])
def test_a_log_has_each_step_and_measurement_under_its_number(after, log):
    names, written = after
    run = names["run"]
    assert written[log] == {("loss", step): value for step, value in enumerate(run.loss.tolist())} | {
        ("sharpness", step): value for step, value in enumerate(run.probes["sharpness"].values[:, 0].tolist())
    }


def test_the_page_leaves_its_files_and_goes_on_where_it_stopped(after):
    names, _ = after
    assert names["there"] == {"run.svg", "run.csv", "run.npz"}
    assert names["rest"].step.tolist() == list(range(400, 500))
