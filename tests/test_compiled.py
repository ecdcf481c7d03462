"""What claims compile is kept from run to run, unless the user says otherwise; a damaged folder breaks no claim."""

import json
import os
import subprocess
import sys

import pytest

from eosbench.compiled import folder

CLAIM = """
import jax, jax.numpy as jnp
from eosbench import Claim, Document, Source

def note(event, **_):
    with open("events", "a") as file:
        file.write(event.rpartition("/")[2] + "\\n")

jax.monitoring.register_event_listener(note)
claim = Claim("toy/one", source=Source(Document("talk", title="A talk"), "slide 1"), printed="p", expected="holds")


@claim.check(x=[1.0, 2.0], controls={"sign": dict(x=-1.0)})
def test_one(evidence, x):
    evidence.at_least("x", jax.jit(lambda x: jnp.sin(x) * jnp.ones(7) @ jnp.arange(7.0))(x), 0.5)
"""
TOLD = "What claims compile is kept from now on, in "


@pytest.fixture
def run(tmp_path):
    """A run of one claim in a process of its own, with no setting but those given; its output and its evidence."""
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "test_toy.py").write_text(CLAIM)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    ours = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "EOSBENCH_COMPILED")
    clean = {name: value for name, value in os.environ.items() if name not in ours}

    def of(*arguments, **settings):
        command = [sys.executable, "-m", "pytest", "claims", "-p", "no:cacheprovider", "-q", *arguments]
        environment = clean | {"XDG_CACHE_HOME": str(tmp_path / "cache")} | settings
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = map(json.loads, (tmp_path / "claims-report" / "evidence.jsonl").read_text().splitlines())
        return done.stdout, [line["records"] for line in lines if line["type"] == "case"]

    return of


def entries(path):
    return {entry.name: entry.read_bytes() for entry in path.rglob("*-cache")}


@pytest.mark.parametrize("arguments", [(), ("-n", "1")], ids=["serial", "worker"])
def test_a_second_run_compiles_nothing_and_finds_the_same(run, tmp_path, arguments):
    place = tmp_path / "cache" / "eosbench" / "compiled"
    told, found = run(*arguments)
    assert f"{TOLD}{place}; EOSBENCH_COMPILED=off keeps none." in told
    assert any(name.startswith("jit__lambda") for name in entries(place))
    assert place.stat().st_mode & 0o077 == 0
    events = (tmp_path / "events").read_text().split()
    assert events.count("cache_misses") >= 1
    (tmp_path / "events").unlink()
    told, again = run(*arguments)
    assert TOLD not in told
    assert again == found
    events = (tmp_path / "events").read_text().split()
    assert (events.count("cache_misses"), events.count("cache_hits") >= 1) == (0, True)


def test_it_is_turned_off_by_a_setting_and_gives_way_to_one_of_jax(run, tmp_path):
    told, found = run(EOSBENCH_COMPILED="off")
    assert TOLD not in told
    _, same = run(JAX_ENABLE_COMPILATION_CACHE="0")
    own = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "own"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    told, kept = run(**own)
    assert TOLD not in told
    assert found == same == kept
    assert entries(tmp_path / "own")
    assert not (tmp_path / "cache" / "eosbench").exists()


def test_damaged_entries_and_a_folder_that_is_none_break_no_run(run, tmp_path):
    place = tmp_path / "cache" / "eosbench" / "compiled"
    _, found = run()
    for name in entries(place):
        (place / name).write_bytes(b"no program")
    assert run()[1] == found
    for name in entries(place):
        (place / name).unlink()
        (place / name).mkdir()  # can neither be read nor written, whoever runs the tests
    assert run()[1] == found
    (tmp_path / "file").touch()
    told, same = run(XDG_CACHE_HOME=str(tmp_path / "file"))
    assert (TOLD in told, same) == (False, found)


def test_the_folder_is_in_the_cache_of_the_user(monkeypatch, tmp_path):
    monkeypatch.delenv("EOSBENCH_COMPILED")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert folder() == tmp_path / ".cache" / "eosbench" / "compiled"
    monkeypatch.setenv("EOSBENCH_COMPILED", "off")
    assert folder() is None
