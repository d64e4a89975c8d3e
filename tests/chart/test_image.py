"""The image and the packages, as far as they can be tested without a container engine.

``deploy/image/prove`` tests the rest: it runs the build steps in a clean root and serves there as a foreign
user, read-only and without /tmp.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.chart.rendering import render
from tests.support.serving import ROOT
from webhook import __version__

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
FINAL = DOCKERFILE.rpartition("\nFROM ")[2]


def test_build_stages_use_one_base_pinned_by_digest() -> None:
    """The environment finds its interpreter at the same path, and the image cannot be replaced."""
    assert re.search(r"^ARG PYTHON_IMAGE=\S+@sha256:[0-9a-f]{64}$", DOCKERFILE, re.MULTILINE)
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${PYTHON_IMAGE}", "${PYTHON_IMAGE}"]


def test_image_user_is_numeric_and_not_root() -> None:
    """It is the user of the chart."""
    user = re.findall(r"^USER (\d+):(\d+)$", FINAL, re.MULTILINE)
    assert user == [("65532", "65532")]
    assert render().pod["securityContext"]["runAsUser"] == 65532


def test_entry_point_is_in_exec_form() -> None:
    """Without a shell, the process receives the signal that stops it."""
    assert '\nENTRYPOINT ["swr-trust"]\n' in FINAL
    assert "\nSTOPSIGNAL SIGTERM\n" in FINAL


def test_final_stage_copies_only_environment() -> None:
    """No build tools, no sources, no emulator."""
    assert re.findall(r"^(?:COPY|ADD) (.+)$", FINAL, re.MULTILINE) == ["--from=build /app /app"]


@pytest.mark.parametrize(
    "label", ["title", "description", "source", "documentation", "licenses", "version", "revision", "created"]
)
def test_image_has_oci_label(label: str) -> None:
    """The labels of the OCI image specification."""
    assert f"org.opencontainers.image.{label}=" in FINAL


@pytest.mark.parametrize("name", ["runtime.txt", "build.txt"])
def test_requirements_are_locked_by_hash(name: str) -> None:
    """Each requirement is one version with its hashes."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8").replace("\\\n", " ")
    requirements = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert len(requirements) > 5
    for requirement in requirements:
        assert re.match(r"[a-z0-9-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", requirement), requirement


def test_build_context_excludes_files_by_default() -> None:
    """Files are included by name, so that a new file is not included by accident."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert next(line for line in lines if line and not line.startswith("#")) == "*"
    assert not any("tests" in line for line in lines)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("packages")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=60,
    )
    return folder


def test_wheel_contains_only_product(packages: Path) -> None:
    """One package and its metadata, with the license and the marker ``py.typed``."""
    with zipfile.ZipFile(packages / f"swr_trust_webhook-{__version__}-py3-none-any.whl") as wheel:
        names = wheel.namelist()
    assert {name.partition("/")[0] for name in names} == {
        "webhook",
        f"swr_trust_webhook-{__version__}.dist-info",
    }
    assert "webhook/py.typed" in names
    assert f"swr_trust_webhook-{__version__}.dist-info/licenses/LICENSE" in names
    assert [name for name in names if "emulator" in name or "tests" in name] == []


def test_source_distribution_contains_only_product(packages: Path) -> None:
    """The sources of the wheel, and the files for a reader."""
    root = f"swr_trust_webhook-{__version__}"
    with tarfile.open(packages / f"{root}.tar.gz") as archive:
        tops = {name.removeprefix(f"{root}/").partition("/")[0] for name in archive.getnames()}
    files = {"LICENSE", "README.md", "pyproject.toml", "PKG-INFO", ".gitignore"}
    assert tops >= {"webhook", "LICENSE", "README.md", "pyproject.toml", "PKG-INFO"}
    assert tops <= {"webhook", *files, "README.zh-CN.md", "CHANGELOG.md"}
