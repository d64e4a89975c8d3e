"""Lock files: pip installs them without resolving, so each must be complete."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.serving import ROOT

PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
MACHINES: Final = ("x86_64", "aarch64")
GROUPS: Final = {"runtime": (), "build": ("build",), "dev": ("test", "lint", "build")}
"""The dependency groups of pyproject.toml in each lock. The dependencies of the product are in ``runtime``
and ``dev``.
"""

ENVIRONMENTS: Final = [
    {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
        "extra": "",
    }
    for python in PYTHONS
    for machine in MACHINES
]


def locked(name: str) -> dict[str, Requirement]:
    """Return the requirements of a lock by their normalized names."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    found = [
        Requirement(line.removesuffix(" \\")) for line in text.splitlines() if re.match(r"[a-zA-Z]", line)
    ]
    return {canonicalize_name(one.name): one for one in found}


def asked(lock: str) -> list[str]:
    """Return the requirements of pyproject.toml in a lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    own = [] if lock == "build" else project["project"]["dependencies"]
    return [*own, *(line for group in GROUPS[lock] for line in project["dependency-groups"][group])]


def missing(lock: str, environment: dict[str, str]) -> set[str]:
    """Return the requirements, also of extras, that a lock does not satisfy in an environment.

    The requirements of a package are read from the installed one, of the locked version.
    """
    pins = locked(lock)
    waiting = [Requirement(line) for line in asked(lock)]
    done: set[tuple[str, str]] = set()
    problems: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        pin = pins.get(name)
        if pin is None or (pin.marker is not None and not pin.marker.evaluate(environment)):
            problems.add(str(requirement))
            continue
        version = str(pin.specifier).removeprefix("==")
        if not requirement.specifier.contains(version, prereleases=True):
            problems.add(f"{requirement} is locked at {version}")
        for extra in ("", *sorted(requirement.extras)):
            if (name, extra) in done:
                continue
            done.add((name, extra))
            try:
                lines = metadata.requires(name) or []
            except metadata.PackageNotFoundError:
                continue  # for another environment than this one
            for line in lines:
                further = Requirement(line)
                if further.marker is None or further.marker.evaluate({**environment, "extra": extra}):
                    waiting.append(further)
    return problems


@pytest.mark.parametrize("lock", GROUPS)
def test_lock_contains_every_requirement_of_its_packages(lock: str) -> None:
    """Fault A2: pip does not resolve, so it would not notice a missing one.

    For each supported Python and both architectures of the image.
    """
    found = {str(environment): missing(lock, environment) for environment in ENVIRONMENTS}
    assert {where: problems for where, problems in found.items() if problems} == {}


def test_environment_of_the_tests_has_the_locked_versions() -> None:
    """Fault A2: the installed packages are the locked ones."""
    pins = locked("dev").values()
    here = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
    found = {pin.name: metadata.version(pin.name) for pin in here}
    assert {pin.name: found[pin.name] for pin in here if found[pin.name] not in pin.specifier} == {}


INSTALLERS: Final = [
    path.relative_to(ROOT)
    for pattern in ("Makefile", "Dockerfile", ".ci/*", "deploy/**/*", ".github/workflows/*")
    for path in sorted(ROOT.glob(pattern))
    if path.is_file()
]


def _pip_commands(path: Path) -> list[str]:
    """Return the commands that pass a lock to pip, each with its continuation lines."""
    text = (ROOT / path).read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if "--require-hashes" in line]


def test_locked_packages_are_installed_without_resolving() -> None:
    """Fault A2: pip before 23.3 resolves the extras of locked packages again, and then rejects them."""
    found = {str(path): _pip_commands(path) for path in INSTALLERS}
    assert {path: len(commands) for path, commands in found.items() if commands} == {
        ".ci/environment": 1,
        "deploy/bundle/make": 1,
        "deploy/image/assemble": 2,
    }
    wrapper = re.compile(r"^install\(\) \{.*?^\}", re.MULTILINE | re.DOTALL)
    for path, commands in found.items():
        defined = wrapper.search((ROOT / path).read_text(encoding="utf-8"))
        for command in commands:
            wrapped = command.startswith("install ") and defined is not None
            text = defined.group() if wrapped and defined is not None else command
            assert "--no-deps" in text, f"{path}: {command}"
