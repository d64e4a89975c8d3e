"""The first steps with ``make run``: the commands of README and guide, and the output that they show."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from tests.support.serving import ROOT

pytestmark = pytest.mark.slow

READMES: Final = ("README.md", "README.zh-CN.md")
GUIDES: Final = ("docs/install.md", "docs/install.zh-CN.md")
USUAL_PORT: Final = "8443"


def read(name: str) -> str:
    """Return a document."""
    return (ROOT / name).read_text(encoding="utf-8")


def shown(language: str, start: str, name: str = "README.md") -> str:
    """Return the code block of a document that starts with a text."""
    found: list[str] = re.findall(
        rf"^```{language}\n({re.escape(start)}.*?)^```$", read(name), re.MULTILINE | re.DOTALL
    )
    assert len(found) == 1, f"{name} shows {len(found)} blocks that start with {start}"
    return found[0].strip()


class Demo:
    """A running ``make run``, without ``make``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Read the output until it shows how to try the webhook."""
        self.lines: list[str] = []
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line.rstrip("\n"))
            if "Ctrl-C ends it" in line:
                break
        self.commands = [line for line in self.lines if line.startswith("curl ")]

    @property
    def port(self) -> str:
        """The port in the printed commands."""
        found = re.search(r"https://127\.0\.0\.1:(\d+)/validate", self.commands[0])
        assert found is not None
        return found[1]


@contextmanager
def demonstration() -> Iterator[Demo]:
    """Run the demonstration and end it. Ctrl-C does the same, but background jobs of a shell ignore SIGINT."""
    command = [sys.executable, "-m", "tests.demo"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Demo(process)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                rest = process.communicate(timeout=60)[0]
            except subprocess.TimeoutExpired:
                process.kill()
                raise
    assert (process.returncode, rest) == (0, "\nstopping\n")


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """Return one run for the tests of this module."""
    with demonstration() as running:
        yield running


def test_readme_commands_match_output_of_make_run(demo: Demo) -> None:
    """Fault E12: verbatim on the usual port, with another port if that one is taken."""
    assert demo.commands[0].replace(demo.port, USUAL_PORT) == shown("sh", "curl ")
    assert shown("sh", "make run") == "make run"


def test_second_run_uses_own_files_and_port(demo: Demo) -> None:
    """Fault E12: it overwrote the certificate of the first run, which then loaded it."""
    before = (ROOT / ".run" / demo.port / "ca.crt").read_bytes()
    with demonstration() as second:
        assert second.port != demo.port
        assert f"Port {USUAL_PORT} is in use, so this run uses port {second.port}." in second.lines
        assert f".run/{second.port}/ca.crt" in second.commands[0]
    assert (ROOT / ".run" / demo.port / "ca.crt").read_bytes() == before


@pytest.mark.parametrize("name", GUIDES)
def test_mutation_command_in_guide_matches_output_of_make_run(demo: Demo, name: str) -> None:
    """Verbatim on the usual port."""
    assert demo.commands[1].replace(demo.port, USUAL_PORT) == shown("sh", "curl ", name)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@pytest.mark.parametrize("name", GUIDES)
def test_patch_in_guide_matches_webhook(demo: Demo, name: str) -> None:
    """The emulator's digest replaces the ellipsis."""
    command = shown("sh", "curl ", name).replace(USUAL_PORT, demo.port)
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60)
    document = shown("json", '[{"op"', name).replace("…", "1" * 64)
    assert json.loads(done.stdout) == json.loads(document)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@pytest.mark.parametrize("name", READMES)
def test_readme_response_matches_webhook(demo: Demo, name: str) -> None:
    """Fault E12: an ellipsis stands for any text, everything else is compared."""
    command = shown("sh", "curl ", name).replace(USUAL_PORT, demo.port)
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60)
    answer = json.dumps(json.loads(done.stdout), separators=(",", ":"))
    document = re.sub(r"\n *", "", shown("json", '{"apiVersion"', name)).replace(", …", ",…")
    pattern = ".*".join(re.escape(part) for part in document.split("…"))
    assert re.fullmatch(pattern, answer), answer


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@pytest.mark.parametrize("name", READMES)
def test_readme_denial_matches_webhook(demo: Demo, name: str) -> None:
    """Fault E12: kubectl prints this message after the name of the webhook."""
    done = subprocess.run(
        f"{demo.commands[0]} --silent", shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    message = json.loads(done.stdout)["response"]["status"]["message"]
    refusal = " ".join(shown("console", "$ kubectl run", name).splitlines()[1:])
    assert refusal.endswith(f" denied the request: {message}")
