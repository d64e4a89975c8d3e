"""The Python with which ``make`` builds its environment, and the message if there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.serving import ROOT

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")

TOOLS = ("bash", "sh", "sort", "sed", "grep", "tail", "head", "cut", "cat", "dirname", "rm", "env")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder for the PATH with the tools that the scripts use, and without a Python."""
    path = tmp_path / "bin"
    path.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None, tool
        (path / tool).symlink_to(found)
    return path


def install(path: Path, version: str) -> None:
    """Create a Python that only prints its version; without a version it fails like a pyenv shim."""
    path.parent.mkdir(parents=True, exist_ok=True)
    answer = (
        f'case $2 in *executable*) printf "{version}\\t$0\\n" ;; *) echo {version.rpartition(".")[0]} ;; esac'
    )
    path.write_text(f"#!/bin/sh\n{answer if version else 'exit 127'}\n", encoding="utf-8")
    path.chmod(0o755)


def run(script: str, folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script of ``.ci`` with this folder as its PATH."""
    return subprocess.run(
        [str(folder / "bash"), str(ROOT / ".ci" / script), *arguments],
        env={"PATH": str(folder), **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def pythons(folder: Path, **environment: str) -> list[tuple[str, str]]:
    """Return the output of ``.ci/pythons``."""
    done = subprocess.run(
        [str(folder / "sh"), str(ROOT / ".ci" / "pythons")],
        env={"PATH": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return [(version, os.path.relpath(path, folder)) for version, path in rows]


def test_pythons_are_listed_oldest_first_and_each_version_once(folder: Path) -> None:
    """By number: 3.9 would be the newest in text order, and ``python3`` is one of the others."""
    for name, version in (("python3.13", "3.13.0"), ("python3.11", "3.11.10"), ("python3", "3.11.10")):
        install(folder / name, version)
    assert pythons(folder) == [("3.11.10", "python3.11"), ("3.13.0", "python3.13")]


def test_shim_that_fails_is_not_listed(folder: Path) -> None:
    """Fault A2: it exists for every version that pyenv has, and works only for the selected one."""
    install(folder / "python3.13", "")
    install(folder / "python3.12", "3.12.1")
    assert pythons(folder) == [("3.12.1", "python3.12")]


def test_versions_of_pyenv_are_listed(folder: Path) -> None:
    """Whether or not they are selected."""
    root = folder.parent / "pyenv"
    install(root / "versions" / "3.13.0" / "bin" / "python", "3.13.0")
    install(root / "shims" / "python3.13", "")
    assert pythons(folder, PYENV_ROOT=str(root)) == [("3.13.0", "../pyenv/versions/3.13.0/bin/python")]


def test_missing_python_is_reported_with_instructions(folder: Path) -> None:
    """Nothing is built."""
    done = run("environment", folder, str(folder.parent / "venv"))
    assert (done.returncode, done.stderr) == (
        1,
        "Python 3.11 or newer, with venv and pip, is needed and was not found.\n"
        "Install it (Debian and Ubuntu: apt install python3-venv), or name it: make PYTHON=/path/to/python\n",
    )
    assert not (folder.parent / "venv").exists()


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("3.10.13", "PYTHON={python} is Python 3.10; 3.11 or newer is needed\n"),
        ("2.7.18", "PYTHON={python} is Python 2.7; 3.11 or newer is needed\n"),
        ("", "PYTHON={python} does not start\n"),
    ],
)
def test_named_python_that_cannot_be_used_is_an_error(folder: Path, version: str, message: str) -> None:
    """Another one is not used instead."""
    install(folder / "python3.13", "3.13.0")
    named = folder.parent / "named" / "python"
    install(named, version)
    done = run("environment", folder, str(folder.parent / "venv"), PYTHON=str(named))
    assert (done.returncode, done.stderr) == (1, message.format(python=named))
    assert not (folder.parent / "venv").exists()
