"""The controller of a run on a Dask cluster: it hands out experiments, and has pytest hear what is told of them."""

import contextlib
import json
import queue
import signal
import sys
import threading
import time
import uuid
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
from distributed import Client, Event, Future
from distributed.comm import get_address_host
from distributed.scheduler import KilledWorker

import eosbench
from eosbench.pytest_plugin.cluster import experiment
from eosbench.pytest_plugin.cluster.sameness import difference, facts
from eosbench.pytest_plugin.recorder import Plan
from eosbench.pytest_plugin.scheduling import experiments
from eosbench.raised import told

_CONNECT = 10.0  # seconds that a scheduler has to answer
_SILENCE = 10.0  # seconds without a word after which a scheduler that was asked for its last is given up
_LIVES = 3  # workers that may be lost in a row with an experiment of which no case has started

_LAST = {"last": True}  # what the scheduler is asked to say last: all that it heard before has come when this comes


@dataclass
class _Task:
    """Cases of one experiment that were handed out together.

    Attributes:
        name: the experiment, or the file of tests that belong to no claim.
        waiting: the cases that have not ended, in the order in which they run.
        lives: see `_LIVES`.
        future: that of Dask; the task is wanted as long as it is kept.
        worker: who has begun it.
        at_work: the case that has started, if one has, its place, and when that was heard.
        moved: whether a case has ended.
    """

    name: str
    waiting: list[str]
    lives: int
    future: Future
    worker: str = ""
    at_work: tuple[str, Any, float] | None = None
    moved: bool = False


class Cluster:
    """The plugin: it connects before anything is collected, and takes the place of pytest's own loop over the items."""

    def __init__(self, address: str, plan: Plan) -> None:
        self._address = address
        self._plan = plan
        self._client: Client | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        try:
            get_address_host(self._address)  # of what is no address, a client would not get rid in half a minute
            self._client = Client(self._address, timeout=_CONNECT, name="eosbench", set_as_default=False)
        except (OSError, ValueError) as problem:
            _refuse(
                f"no Dask scheduler answers at {self._address!r} ({told(problem)}); start one with `dask scheduler`, "
                "and give the address that it tells, such as tcp://host:8786"
            )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        broken = session.testsfailed and not session.config.option.continue_on_collection_errors
        if self._client is None or broken or not session.items:
            return None  # pytest's own says so
        _Run(session, self._client, self._address, self._plan).to_the_end()
        return True

    def pytest_unconfigure(self) -> None:
        if self._client is not None:
            self._client.close(timeout=_SILENCE)


class _Run:
    """One loop over the items of a session.

    What is told of tasks, Dask's own events and signals come through one queue and are heard one after the other by the
    main thread. Nothing breaks off the hearing of a message, and what came before a Ctrl-C is heard before it.
    """

    def __init__(self, session: pytest.Session, client: Client, address: str, plan: Plan) -> None:
        self._session = session
        self._hook = session.config.hook
        self._client = client
        self._address = address
        self._plan = plan
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._tasks: dict[str, _Task] = {}
        self._keys: list[str] = []
        self._workers: dict[str, int] = {}
        self._ending = False
        self._folder = str(session.config.invocation_params.dir)
        self._options = _options(session.config)
        self._paths = {item.nodeid: str(item.path) for item in session.items}
        self._facts = facts(_read_here(session.config), computes=False)

    def to_the_end(self) -> None:
        """Run all items.

        Raises:
            KeyboardInterrupt: at Ctrl-C or SIGTERM, when all that was told before is heard.
            pytest.exit.Exception: a worker is not as this process, or the scheduler is gone.
        """
        self._require_workers()
        self._require_same()
        self._client.subscribe_topic("all", self._on_event)
        self._client.subscribe_topic(self._client.id, self._on_event)
        with self._signals_in_turn():
            try:
                for name, nodeids in self._experiments().items():
                    self._hand_out(name, nodeids, _LIVES)
                while self._tasks:
                    self._hear(self._inbox.get())
                    if self._session.shouldfail:
                        raise self._session.Failed(self._session.shouldfail)
                    if self._session.shouldstop:
                        raise self._session.Interrupted(self._session.shouldstop)
            finally:
                self._hear_the_last()

    # --- before the first case ---------------------------------------------------------------------------------------

    def _require_workers(self) -> None:
        if not self._client.nthreads():
            self._say(f"there is no worker at {self._address} yet; waiting for one")
            self._client.wait_for_workers(1)
        self._workers = dict(self._client.nthreads())

    def _require_same(self) -> None:
        """Refuse workers that are not as this process, or not on one kind of device, which goes to the results file.

        Those that come later are looked at by their first process.
        """
        files = [file for file in self._facts.texts if Path(file).is_absolute()]
        found = self._client.run(experiment.facts_there, self._folder, files, on_error="return")
        for worker, there in sorted(found.items()):
            if isinstance(there, BaseException):
                self._refuse_worker(worker, there)
            if sentence := difference(self._facts, there, worker):
                _refuse(sentence)
            self._facts = self._facts._replace(device=there.device, machine=there.machine)
        workers = {"workers": sum(self._workers.values())}
        self._plan.numerics |= self._facts.device | self._facts.machine | workers

    def _refuse_worker(self, worker: str, problem: BaseException) -> NoReturn:
        _refuse(
            f"{worker} cannot run cases ({told(problem)}); it needs eosbench with all that is installed here, and "
            f"the claims at the same path, below {self._folder}"
        )

    def _experiments(self) -> dict[str, list[str]]:
        """The items that are run in one process, by their experiment; those of no claim by their file."""
        of_case = experiments(self._plan)
        groups: dict[str, list[str]] = {}
        for item in self._session.items:
            groups.setdefault(of_case.get(item.nodeid, item.nodeid.partition("::")[0]), []).append(item.nodeid)
        return groups

    def _hand_out(self, name: str, nodeids: list[str], lives: int) -> None:
        key = f"{name}-{uuid.uuid4().hex}"
        files = dict.fromkeys(self._paths[nodeid] for nodeid in nodeids)
        job = experiment.Job(self._folder, [*self._options, *files], nodeids, self._facts)
        topic = self._client.id  # which the scheduler forgets some time after this client
        future = self._client.submit(experiment.run, job, key, topic, key=key, pure=False, priority=-len(self._keys))
        self._tasks[key] = _Task(name=name, waiting=[*nodeids], lives=lives, future=future)
        self._keys.append(key)
        future.add_done_callback(self._inbox.put)

    # --- what is told ------------------------------------------------------------------------------------------------

    def _on_event(self, event: tuple[float, Any]) -> None:
        """Called by Dask's thread."""
        self._inbox.put(event[1])

    def _hear(self, message: Any) -> None:
        match message:
            case signal.Signals():
                raise KeyboardInterrupt(message.name)
            case Future():
                self._done(message)
            case {"task": str(key), "worker": str(worker), "begun": _} if key in self._tasks:
                self._tasks[key].worker = worker
            case {"task": str(key), "line": str(line)} if key in self._tasks:
                self._told(self._tasks[key], json.loads(line))
            case {"task": str(key), "ended": str(how)} if key in self._tasks:
                self._ended(key, how)
            case {"action": "add-worker", "worker": str(worker)}:
                self._workers[worker] = 1
            case {"action": "remove-worker", "worker": str(worker)}:
                self._workers.pop(worker, None)
                if not self._workers and not self._ending:
                    self._say(f"no worker is left at {self._address}; waiting for one")

    def _told(self, task: _Task, line: dict[str, Any]) -> None:
        match line:
            case {"differs": sentence}:
                self._stop(sentence)
            case {"started": nodeid, "location": location}:
                task.at_work = nodeid, tuple(location), time.monotonic()
                self._hook.pytest_runtest_logstart(nodeid=nodeid, location=tuple(location))
            case {"report": data}:
                report = self._hook.pytest_report_from_serializable(config=self._session.config, data=data)
                report.worker_id = task.worker
                self._hook.pytest_runtest_logreport(report=report)
            case {"finished": nodeid, "location": location}:
                task.at_work, task.moved = None, True
                task.waiting.remove(nodeid)
                self._hook.pytest_runtest_logfinish(nodeid=nodeid, location=tuple(location))

    def _ended(self, key: str, how: str) -> None:
        """What a task has left is handed out anew, but for the case at which it was: that is not run again."""
        task = self._tasks.pop(key)
        left = [*task.waiting]
        lost = how == experiment.LOST
        why = f"{task.worker or 'its worker'} {how}" if lost else f"its process at {task.worker} {how}"
        lives = _LIVES
        if task.at_work is not None:
            nodeid, location, since = task.at_work
            left.remove(nodeid)
            self._crashed(nodeid, location, why, task.worker, time.monotonic() - since)
        elif not task.moved and lost and task.lives:
            lives = task.lives - 1
        elif not task.moved:
            for nodeid in left:  # pytest's hooks have a start before each report
                self._hook.pytest_runtest_logstart(nodeid=nodeid, location=_place(nodeid))
                self._crashed(nodeid, _place(nodeid), why, task.worker, 0.0)
            return
        if left and not self._ending:
            self._hand_out(task.name, left, lives)

    def _crashed(self, nodeid: str, location: Any, why: str, worker: str, seconds: float) -> None:
        """Report a case whose process died, as pytest-xdist does."""
        report = pytest.TestReport(
            nodeid=nodeid,
            location=location,
            keywords={},
            outcome="failed",
            longrepr=why,
            when="???",  # type: ignore[arg-type]
            duration=seconds,
            worker_id=worker,
        )
        self._hook.pytest_runtest_logreport(report=report)

    def _done(self, future: Future) -> None:
        """Dask is through with a task; how it ended was told before, unless there was nobody to tell it."""
        if future.key not in self._tasks or future.status == "finished":
            return
        if future.status != "error":
            self._stop(f"the connection to {self._address} was lost, or somebody cancelled the tasks of this run there")
        elif isinstance(problem := future.exception(), KilledWorker):
            self._ended(future.key, experiment.LOST)
        elif not self._ending:
            self._refuse_worker(self._tasks[future.key].worker or "a worker", problem)

    # --- the end -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _signals_in_turn(self) -> Generator[None]:
        """Have Ctrl-C, and SIGTERM once the recorder listens to it, come through the queue."""
        before = signal.getsignal(signal.SIGINT)

        def hear(signum: int, frame: Any) -> None:
            if signum != signal.SIGINT or before is not signal.SIG_IGN:
                self._inbox.put(signal.Signals(signum))

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signal.signal(signal.SIGINT, hear)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _hear_the_last(self) -> None:
        """Call off what is at work, and hear all that the scheduler was told before; a second Ctrl-C ends that."""
        self._ending = True
        futures = [task.future for task in self._tasks.values()]
        threading.Thread(target=self._call_off, args=(futures, [*self._keys]), daemon=True).start()
        with contextlib.suppress(queue.Empty):
            while (message := self._inbox.get(timeout=_SILENCE)) != _LAST and not isinstance(message, signal.Signals):
                self._hear(message)

    def _call_off(self, futures: list[Future], keys: list[str]) -> None:
        """In a thread of its own, as the scheduler may not answer."""
        try:
            self._client.cancel(futures)
            for key in keys:
                Event(key, self._client).clear()
            self._client.log_event(self._client.id, _LAST)
        except Exception:
            self._inbox.put(_LAST)  # nobody is there, and nothing more will come

    def _stop(self, sentence: str) -> None:
        if not self._ending:
            _refuse(sentence)

    def _say(self, sentence: str) -> None:
        terminal = self._session.config.pluginmanager.getplugin("terminalreporter")
        getattr(terminal, "write_line", print)(sentence)


def _refuse(sentence: str) -> NoReturn:
    pytest.exit(sentence, returncode=2)


def _place(nodeid: str) -> tuple[str, None, str]:
    file, _, name = nodeid.partition("::")
    return file, None, name


def _read_here(config: pytest.Config) -> list[str]:
    """The files that this process read to collect: modules of the project, conftest.py, and the configuration."""
    package = Path(eosbench.__file__).parent  # whose text is compared wherever it is installed
    read = {Path(file) for module in [*sys.modules.values()] if (file := getattr(module, "__file__", None))}
    own = {file for file in read if file.is_relative_to(config.rootpath) and "site-packages" not in file.parts}
    configuration = {config.inipath} if config.inipath else set()
    return sorted(str(file) for file in own | configuration if not file.is_relative_to(package))


def _options(config: pytest.Config) -> list[str]:
    """Of the options of this process those that change how a case runs or is told; which cases run is said apart."""
    option = config.option
    return [
        *(f"--override-ini={entry}" for entry in option.override_ini or ()),
        "--override-ini=addopts=",  # they are among these
        *(("--override-ini=cache_dir=$TMPDIR/cache",) if config.pluginmanager.hasplugin("cacheprovider") else ()),
        *(("-c", str(config.inipath)) if config.inipath else ()),
        f"--rootdir={config.rootpath}",
        f"--import-mode={option.importmode}",
        f"--verbosity={option.verbose}",
        f"--tb={option.tbstyle}",
        *(("--showlocals",) if option.showlocals else ()),
        *(f"-W{warning}" for warning in option.pythonwarnings or ()),
        *(f"-p{plugin}" for plugin in option.plugins),
        *("-p", "no:eosbench-session"),
        f"--claims-dtype={option.claims_dtype}",
        f"--claims-scale={option.claims_scale}",
    ]
