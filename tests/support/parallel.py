"""Run the suite in several pytest processes: ``python -m tests.support.parallel [--processes N] [PYTEST
OPTIONS]``.

Each worker collects all tests and then takes one file after another from a common queue. The tests that share
a control plane are one entry of the queue, because they would disturb one another. There is one entry for the
chart, whose releases deny Pods, and one for all others. Tests marked ``alone`` measure time or memory. One
worker runs them at the end, when all others have ended.

pytest-xdist is not used because its workers depend on native threads. It ends with an internal error if
gevent has patched the standard library, as in the product and its tests.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

_FOLDER: Final = "TEST_QUEUE"
_NAME: Final = "TEST_WORKER"
_MAX_SILENCE: Final = 600.0
"""Seconds without a result after which a worker counts as hung; a test has 300 unless it says otherwise."""

_MAX_STOP: Final = 30.0
"""Seconds that an interrupted worker has to end its servers and its control plane."""

_EXPECTED: Final = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)


def pytest_configure(config: pytest.Config) -> None:
    """Make this pytest process a worker if it was started as one."""
    if _FOLDER in os.environ:
        config.pluginmanager.register(Worker(config, Path(os.environ[_FOLDER]), os.environ[_NAME]))


class Worker:
    """Takes entries of the queue until none is left, and writes the results as lines of JSON."""

    def __init__(self, config: pytest.Config, folder: Path, name: str) -> None:
        """Share ``folder`` with the other workers."""
        self._config = config
        self._folder = folder
        self._name = name
        self._parent = os.getppid()
        self._results = (folder / f"{name}.results").open("a", encoding="utf-8")
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self) -> Iterator[None]:
        """Collect without the garbage collector, which would look at thousands of tests again and again."""
        gc.disable()
        try:
            return (yield)
        finally:
            gc.enable()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Run the tests of each entry that no other worker has taken."""
        if session.testsfailed or session.config.option.collectonly:
            return None  # pytest's own loop says what could not be collected
        self._write(collected=len(session.items))
        entries, alone = _queue(session.items)
        for name, items in entries:
            if self._take(name):
                self._run(session, name, items)
        if alone and self._take("alone"):
            self._write(waiting=True)
            others = [path for path in self._folder.glob("*.results") if path.stem != self._name]
            while not all(path.with_suffix(".ended").exists() for path in others):
                self._end_with_parent()
                time.sleep(0.1)
            self._run(session, "alone", alone)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write the result of one phase of a test."""
        status = self._config.hook.pytest_report_teststatus(report=report, config=self._config)
        skipped = isinstance(report.longrepr, tuple)
        self._write(
            test=report.nodeid,
            status=status[0],
            seconds=report.duration,
            when=report.when,
            reason=report.longrepr[2]
            if isinstance(report.longrepr, tuple)
            else getattr(report, "wasxfail", ""),
            text="" if skipped or not report.failed else report.longreprtext,
            sections=[list(section) for section in report.sections] if report.failed else [],
        )

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Name the threads that the process waits for before it ends."""
        left = [thread for thread in threading.enumerate() if not thread.daemon]
        left.remove(threading.main_thread())
        self._write(left=[f"{thread.name} of {getattr(thread, '_target', None)}" for thread in left])

    def _take(self, name: str) -> bool:
        self._end_with_parent()
        try:
            (self._folder / f"{name.replace('/', '_')}.taken").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _run(self, session: pytest.Session, name: str, items: list[pytest.Item]) -> None:
        begun = time.monotonic()
        for item, following in zip(items, [*items[1:], None], strict=True):
            self._write(begun=item.nodeid)
            # Without a next test, fixtures of the session end, too. The next entry may be another worker's.
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
        self._write(entry=name, seconds=time.monotonic() - begun)

    def _end_with_parent(self) -> None:
        if os.getppid() != self._parent:
            raise KeyboardInterrupt

    def _write(self, **record: Any) -> None:
        self._results.write(json.dumps(record) + "\n")
        self._results.flush()


def _queue(items: list[pytest.Item]) -> tuple[list[tuple[str, list[pytest.Item]]], list[pytest.Item]]:
    """Return the entries of the queue in their order, and the tests that run alone."""
    files: dict[str, list[pytest.Item]] = {}
    alone: list[pytest.Item] = []
    for item in items:
        if item.get_closest_marker("alone"):
            alone.append(item)
        else:
            files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    planes: dict[str, list[pytest.Item]] = {}
    entries = []
    for name, tests in files.items():
        if any(test.get_closest_marker("cluster") for test in tests):
            plane = "the chart" if name.startswith("tests/chart/") else "an API server"
            planes.setdefault(f"tests of {plane}", []).extend(tests)
        else:
            entries.append((name, tests))
    entries.sort(key=_weight)
    entries[:0] = planes.items()  # they take longest
    return entries, alone


def _weight(entry: tuple[str, list[pytest.Item]]) -> tuple[float, str]:
    """Files that probably take long come first, so that the workers end at about the same time."""
    name, items = entry
    slow = sum(1 for item in items if item.get_closest_marker("slow"))
    return -(slow + 0.02 * len(items)), name


class Run:
    """The workers of one run and their results."""

    def __init__(self, folder: Path, processes: int, max_end: float, arguments: list[str]) -> None:
        """Start the workers.

        After its last test, a worker has ``max_end`` seconds to end; it waits for threads that a test has left.
        """
        self._max_end = max_end
        self._folder = folder
        self._begun = time.monotonic()
        self._collected = 0
        self._finished: set[str] = set()
        self._outcomes: Counter[str] = Counter()
        self._seconds: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._failed: list[str] = []
        self._problems: list[str] = []
        self._counts: dict[str, Counter[str]] = {}
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._running: dict[str, str] = {}
        self._heard: dict[str, float] = {}
        self._ending: dict[str, tuple[float, list[str]]] = {}
        self._read: dict[str, int] = {}
        environment = dict(os.environ)
        # Hundreds of processes start, and each would compile the program again.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for name in (str(number + 1) for number in range(processes)):
            (folder / f"{name}.results").touch()
            with (folder / f"{name}.log").open("wb") as log:
                self._workers[name] = subprocess.Popen(
                    [sys.executable, "-m", "pytest", "-p", __spec__.name, *arguments],
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                    env={**environment, _FOLDER: str(folder), _NAME: name},
                    process_group=0,  # processes that a worker leaves behind are killed with its group
                )
            self._heard[name] = self._begun
            self._counts[name] = Counter()
            self._read[name] = 0

    def follow(self) -> None:
        """Print results until all workers have ended."""
        left = dict(self._workers)
        while left:
            time.sleep(0.1)
            for name, process in list(left.items()):
                code = process.poll()
                for record in self._news(name):
                    self._note(name, record)
                if code is not None:
                    del left[name]
                    _end_group(process)
                    (self._folder / f"{name}.ended").touch()
                    self._end(name, code)
                elif name in self._ending and time.monotonic() - self._ending[name][0] > self._max_end:
                    self._problems.append(f"worker {name} does not end, threads: {self._ending[name][1]}")
                    _end_group(process)
                elif time.monotonic() - self._heard[name] > _MAX_SILENCE:
                    # Python's faulthandler writes all stacks into the log.
                    process.send_signal(signal.SIGABRT)

    def stop(self) -> None:
        """Interrupt all workers, and kill those that do not end."""
        running = [process for process in self._workers.values() if process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGINT)
        ends = time.monotonic() + _MAX_STOP
        try:
            while any(process.poll() is None for process in running) and time.monotonic() < ends:
                time.sleep(0.1)
        finally:
            for process in running:
                _end_group(process)
                process.wait()

    def summary(self, slowest: int) -> int:
        """Print the summary and return the exit code."""
        _rule(f"slowest {slowest} tests")
        for test, seconds in self._seconds.most_common(slowest):
            print(f"{seconds:7.1f} s  {test}")
        if self._collected != len(self._finished):
            self._problems.append(f"{self._collected} tests were collected, {len(self._finished)} have run")
        _rule("summary")
        for reason, count in sorted(self._skipped.items()):
            print(f"SKIPPED [{count}] {reason}")
        for line in (*self._failed, *self._problems):
            print(line)
        counts = (
            ", ".join(f"{count} {status}" for status, count in sorted(self._outcomes.items())) or "no tests"
        )
        _rule(f"{counts} in {time.monotonic() - self._begun:.0f} s with {len(self._workers)} processes")
        return int(bool(self._failed or self._problems))

    def _news(self, name: str) -> Iterator[dict[str, Any]]:
        with (self._folder / f"{name}.results").open("rb") as results:
            results.seek(self._read[name])
            for line in results:
                if not line.endswith(b"\n"):
                    break
                self._read[name] += len(line)
                yield json.loads(line)

    def _note(self, name: str, record: dict[str, Any]) -> None:
        self._heard[name] = time.monotonic()
        match record:
            case {"collected": count}:
                self._collected = max(self._collected, count)
            case {"waiting": _}:
                self._heard[name] = float("inf")
            case {"left": left}:
                self._ending[name] = (time.monotonic(), left)
            case {"begun": test}:
                self._running[name] = test
            case {"entry": entry, "seconds": seconds}:
                counts = ", ".join(
                    f"{count} {status}" for status, count in sorted(self._counts[name].items())
                )
                self._counts[name].clear()
                passed = time.monotonic() - self._begun
                print(f"[{passed:4.0f} s] worker {name}: {entry}: {counts} in {seconds:.1f} s", flush=True)
            case {"test": test, "status": status}:
                self._seconds[test] += record["seconds"]
                if record["when"] == "teardown":
                    self._finished.add(test)
                    self._running.pop(name, None)
                if status:
                    self._outcomes[status] += 1
                    self._counts[name][status] += 1
                if status == "skipped":
                    self._skipped[record["reason"].removeprefix("Skipped: ")] += 1
                if record["text"]:
                    self._failed.append(f"{status.upper()} {test}" if status != "error" else f"ERROR {test}")
                    _rule(f"{record['when']} of {test}")
                    print(record["text"])
                    for title, content in record["sections"]:
                        _rule(title, "-")
                        print(content)

    def _end(self, name: str, code: int) -> None:
        if code in _EXPECTED or any(f"worker {name} does not end" in problem for problem in self._problems):
            return
        test = self._running.get(name)
        self._problems.append(f"worker {name} ended with {code}" + (f" during {test}" if test else ""))
        _rule(self._problems[-1])
        print(
            (self._folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")[-20_000:], flush=True
        )


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker and the processes that it has left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _rule(title: str, character: str = "=") -> None:
    print(f" {title} ".center(110, character), flush=True)


def _processes() -> int:
    """One more than there are processors, because most tests wait for something; five at most."""
    return min(len(os.sched_getaffinity(0)) + 1, 5)


class _Terminated(BaseException):
    """The run received SIGTERM."""


def main() -> int:
    """Run the suite and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--processes", type=int, default=_processes())
    parser.add_argument("--end", type=float, default=15.0, help="seconds that a worker has to end")
    parser.add_argument("--durations", type=int, default=10)
    own, arguments = parser.parse_known_args()

    def terminate(*_: object) -> None:
        raise _Terminated

    signal.signal(signal.SIGTERM, terminate)
    with tempfile.TemporaryDirectory(prefix="swr-trust-tests-") as folder:
        run = Run(Path(folder), own.processes, own.end, arguments)
        try:
            run.follow()
        except (KeyboardInterrupt, _Terminated):
            with contextlib.suppress(KeyboardInterrupt, _Terminated):  # do not wait after a second signal
                run.stop()
            run.summary(own.durations)
            print("INTERRUPTED")
            return 130
        return run.summary(own.durations)


if __name__ == "__main__":
    sys.exit(main())
