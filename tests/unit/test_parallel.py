"""The parallel runner reports like one pytest process: each test runs once, and no process is left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.process_stats import wait_until
from tests.support.serving import ROOT

pytestmark = pytest.mark.slow

CONFIGURATION = """\
[pytest]
markers =
    alone: runs at the end
    cluster: runs in one process
    slow: comes first
"""


def start(folder: Path, conftest: str = "", **files: str) -> subprocess.Popen[str]:
    """Run a suite of these files with two workers."""
    suite = folder / "suite"
    suite.mkdir()
    (suite / "pytest.ini").write_text(CONFIGURATION, encoding="utf-8")
    (suite / "conftest.py").write_text(dedent(conftest), encoding="utf-8")
    for name, content in files.items():
        (suite / f"test_{name}.py").write_text(dedent(content), encoding="utf-8")
    command = [sys.executable, "-m", "tests.support.parallel", "--processes", "2", "--end", "5"]
    command += ["-p", "no:cacheprovider", "-c", str(suite / "pytest.ini"), str(suite)]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "NOTES": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(folder: Path, conftest: str = "", **files: str) -> tuple[int, str]:
    """Run a suite and return exit code and output."""
    with start(folder, conftest, **files) as process:
        output, _ = process.communicate(timeout=60)
    return process.returncode, output


def test_results_of_all_workers_are_in_one_summary(tmp_path: Path) -> None:
    """With every failure in full, the skipped tests with their reasons, and the slowest tests."""
    code, output = run(
        tmp_path,
        one="def test_good(): pass\ndef test_bad(): print('seen'); assert 1 + 1 == 3",
        two="import pytest\ndef test_skipped(): pytest.skip('no such tool')\ndef test_more(): pass",
        three="""\
            import pytest
            @pytest.fixture
            def broken(): raise ValueError('of the fixture')
            def test_error(broken): pass
            @pytest.mark.xfail
            def test_expected(): assert False
        """,
    )
    assert code == 1, output
    assert "assert (1 + 1) == 3" in output
    assert "seen" in output
    assert "SKIPPED [1] no such tool" in output
    assert "ValueError: of the fixture" in output
    assert re.search(r"^FAILED .*test_one.py::test_bad$", output, re.MULTILINE)
    assert re.search(r"^ERROR .*test_three.py::test_error$", output, re.MULTILINE)
    assert "1 error, 1 failed, 2 passed, 1 skipped, 1 xfailed in " in output
    assert re.search(r"^ +[0-9.]+ s  .*test_one.py::test_good$", output, re.MULTILINE)


def test_run_without_failure_is_good(tmp_path: Path) -> None:
    """In any order of the files."""
    code, output = run(tmp_path, **{f"n{number}": "def test_good(): pass" for number in range(9)})
    assert code == 0, output
    assert " 9 passed in " in output


def test_file_that_cannot_be_collected_fails_the_run(tmp_path: Path) -> None:
    """The error is shown, and nothing runs, as with one process."""
    code, output = run(tmp_path, good="def test_good(): pass", bad="import no_such_module")
    assert code == 1
    assert "No module named 'no_such_module'" in output


def test_worker_that_dies_fails_the_run_and_is_named_with_its_test(tmp_path: Path) -> None:
    """The other worker runs the remaining tests."""
    dies = "import os, pytest\n@pytest.mark.slow\ndef test_dies(): os._exit(7)\ndef test_lost(): pass"
    code, output = run(tmp_path, dies=dies, **{f"n{number}": "def test_good(): pass" for number in range(5)})
    assert code == 1, output
    assert re.search(r"^worker \d ended with 7 during .*test_dies.py::test_dies$", output, re.MULTILINE)
    assert "7 tests were collected, 5 have run" in output


def test_worker_that_does_not_end_fails_the_run_and_names_the_thread(tmp_path: Path) -> None:
    """A plain run of pytest would wait for it without end."""
    leaves = """\
        import threading, time
        def wait_for_ever():
            while True: time.sleep(1)
        def test_leaves(): threading.Thread(target=wait_for_ever).start()
    """
    code, output = run(tmp_path, leaves=leaves)
    assert code == 1, output
    assert re.search(r"^worker \d does not end, threads: .*wait_for_ever", output, re.MULTILINE)
    assert "1 passed" in output


def test_tests_marked_alone_run_when_nothing_else_does(tmp_path: Path) -> None:
    """All of them run in one process."""
    note = """\
        import os, pathlib, time, pytest
        @pytest.mark.parametrize('number', range(3))
        def test_measured(number, request):
            with open(os.environ['NOTES'] + '/order', 'a') as notes: notes.write(f'{request.node.name} {os.getpid()}\\n')
            time.sleep(0.1)
    """
    alone = dedent(note).replace("@pytest", "@pytest.mark.alone\n@pytest", 1).replace("measured", "alone")
    code, output = run(tmp_path, first=alone, other=note, more=note)
    assert code == 0, output
    lines = (tmp_path / "order").read_text(encoding="utf-8").splitlines()
    assert [line.startswith("test_alone") for line in lines] == [False] * 6 + [True] * 3
    assert len({line.partition(" ")[2] for line in lines[-3:]}) == 1


def test_files_of_the_cluster_run_in_one_process(tmp_path: Path) -> None:
    """There is one control plane: a fixture of the whole run is created once for them, and ends with them."""
    plane = """\
        import os, pytest
        def note(text):
            with open(os.environ['NOTES'] + '/planes', 'a') as notes: notes.write(text)
        @pytest.fixture(scope='session')
        def plane():
            note('began ')
            yield
            note('ended ')
    """
    test = "import pytest\n@pytest.mark.cluster\ndef test_plane(plane): pass"
    code, output = run(tmp_path, plane, **{f"n{number}": test for number in range(4)})
    assert code == 0, output
    assert (tmp_path / "planes").read_text(encoding="utf-8") == "began ended "


def test_interrupted_run_ends_what_it_has_started(tmp_path: Path) -> None:
    """Fixtures are torn down, and no process is left."""
    waits = """\
        import os, pathlib, subprocess, time, pytest
        @pytest.fixture
        def server():
            process = subprocess.Popen(['sleep', '1000'])
            yield process
            process.kill()
            process.wait()
            pathlib.Path(os.environ['NOTES'], 'torn-down').touch()
        def test_waits(server):
            pathlib.Path(os.environ['NOTES'], 'pid').write_text(str(server.pid))
            time.sleep(1000)
    """
    with start(tmp_path, waits=waits) as process:
        pid = tmp_path / "pid"
        assert wait_until(lambda: pid.exists() and pid.read_text(encoding="utf-8") != "")
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert (tmp_path / "torn-down").exists()
    assert not Path(f"/proc/{pid.read_text(encoding='utf-8')}").exists()
