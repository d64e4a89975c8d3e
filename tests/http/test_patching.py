"""gevent's patch covers the whole program: no code keeps a blocking original of the standard library."""

from __future__ import annotations

import ast
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulator.server import Emulator
from tests.http.inspection import inspect_program
from tests.support.builders import HOST, pod, review
from tests.support.originals import DELIBERATE
from tests.support.serving import COMMAND, ROOT, ServerProcess, make_certificate

pytestmark = pytest.mark.slow

CACHED = 1.0
"""Seconds within which a cached review is answered on any machine; the fault took many seconds."""


def test_running_program_keeps_no_unpatched_originals(emulator: Emulator, tmp_path: Path) -> None:
    """Fault A1: no default argument, class attribute, closure or constant, in any loaded module."""
    answer = inspect_program(emulator, tmp_path)
    assert {"time.sleep", "threading.Event", "socket.socket", "select.select"} <= set(answer["originals"])
    assert [line for line in answer["found"] if not line.startswith(tuple(DELIBERATE))] == []


def replaced() -> frozenset[str]:
    """Return the names that gevent replaces, as ``module.name``."""
    script = (
        "from gevent import monkey; monkey.patch_all()\n"
        "print(*(f'{m}.{n}' for m, names in monkey.saved.items() for n in names))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return frozenset(done.stdout.split())


def kept(tree: ast.Module) -> Iterator[ast.expr]:
    """Yield the objects that a module keeps after import: default values, and values of constants and
    attributes.
    """
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            yield from node.args.defaults
            yield from (value for value in node.args.kw_defaults if value is not None)
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for statement in itertools.chain(tree.body, *(one.body for one in classes)):
        if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
            yield statement.value


def test_source_keeps_no_unpatched_originals() -> None:
    """Fault A1: in any order of imports, a default argument is evaluated when its module is imported."""
    names = replaced()
    found = [
        f"{path.relative_to(ROOT)}:{value.lineno}: {ast.unparse(value)}"
        for path in sorted((ROOT / "webhook").rglob("*.py"))
        for value in kept(ast.parse(path.read_text(encoding="utf-8")))
        if not names.isdisjoint(ast.unparse(part) for part in ast.walk(value))
    ]
    assert found == []


WAYS = {
    "the console script": COMMAND,
    "the package": [sys.executable, "-m", "webhook"],
}


@pytest.mark.parametrize("way", WAYS)
def test_server_starts_by_script_and_by_module(way: str, tmp_path: Path) -> None:
    """It starts as far as its configuration, which is missing here."""
    certificate = make_certificate(tmp_path)
    files = ["--tls-cert", str(certificate.certificate), "--tls-key", str(certificate.key)]
    done = subprocess.run(
        [*WAYS[way], "serve", "--config", "/none", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "swr-trust: the configuration /none cannot be used:\n  /none cannot be read: No such file or directory\n"
    )


@pytest.mark.parametrize(
    "command", [["serve", "--config", "f"], ["version"], ["check", "--help"]], ids=" ".join
)
def test_unpatched_command_does_not_start(command: list[str]) -> None:
    """Fault A1: the error tells a program that embeds the command line how to start it."""
    script = f"import sys\nfrom webhook.cli.main import main\nsys.exit(main({command!r}))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        "swr-trust: start this command as `swr-trust` or `python -m webhook`, which prepare Python\n",
    )


def test_patch_after_import_of_webhook_raises_error() -> None:
    """Fault A1: a module that was imported before may keep an original."""
    script = "import webhook.trust.limiter, webhook.patching\nwebhook.patching.patch()"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "RuntimeError: the standard library must be patched before webhook."
    )


@pytest.mark.parametrize("trouble", ["our own limit of calls", "SWR asks for a pause"])
def test_pod_with_many_uncached_images_does_not_delay_others(
    emulator: Emulator, tmp_path: Path, trouble: str
) -> None:
    """Fault A1: a cached image of another namespace and the probe are answered, and the loop never stalls."""
    certificate = make_certificate(tmp_path)
    policy = "lookup: {callsPerSecond: 10}\ncache: {trusted: 5m}\n"
    with ServerProcess(tmp_path, emulator.url, certificate, policy) as server:
        cached = review(pod(f"{HOST}/shop/web:1.0"), namespace="quiet")
        assert server.validate(cached)["allowed"]
        if trouble == "SWR asks for a pause":
            emulator.break_with("status", match="/cold-", status=429, headers={"Retry-After": "1"})
        many = review(pod(*(f"{HOST}/shop/cold-{index}:1" for index in range(100))), namespace="noisy")
        answers: list[bool] = []
        flood = [
            threading.Thread(target=lambda: answers.append(server.validate(many, "5s")["allowed"]))
            for _ in range(4)
        ]
        for thread in flood:
            thread.start()
        took = []
        while any(thread.is_alive() for thread in flood):
            began = time.monotonic()
            assert server.validate(cached)["allowed"]
            assert server.get("/healthz")[0] == 200
            took.append(time.monotonic() - began)
        for thread in flood:
            thread.join()
        assert answers == [False] * 4
        assert max(took) < CACHED
        assert 0 < server.metric("swr_trust_loop_stall_seconds") < CACHED
