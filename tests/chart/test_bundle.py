"""The bundle for air-gapped clusters: its content matches its checksums."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chart.rendering import NAME, find_helm
from tests.support.serving import ROOT
from webhook import __version__

BUNDLE = ROOT / "deploy" / "bundle"


def make(folder: Path, *parts: str) -> subprocess.CompletedProcess[str]:
    """Run ``deploy/bundle/make`` for some parts."""
    return subprocess.run(
        [str(BUNDLE / "make"), str(folder), *parts],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "HELM": str(find_helm())},
    )


def verify(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the bundle's own ``verify``."""
    return subprocess.run([str(folder / "verify")], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle without the downloaded parts: the wheels and the image."""
    folder = tmp_path_factory.mktemp("bundle") / "made"
    done = make(folder, "chart", "sums")
    assert done.returncode == 0, done.stderr
    return folder


def test_bundled_chart_equals_chart(made: Path) -> None:
    """Under the name that CCE's My Charts requires."""
    with tarfile.open(made / f"{NAME}-{__version__}.tgz") as chart:
        names = {name.partition("/")[2] for name in chart.getnames()}
    source = ROOT / "charts" / NAME
    assert names == {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}


def test_complete_bundle_passes_verification(made: Path) -> None:
    """Each file is in the list of checksums."""
    done = verify(made)
    assert (done.returncode, done.stdout) == (0, "all 3 files are as they were\n")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: (folder / f"{NAME}-{__version__}.tgz").write_bytes(b"other"), "FAILED"),
        (lambda folder: (folder / "README.md").unlink(), "README.md"),
        (lambda folder: (folder / "more.whl").touch(), "not in SHA256SUMS:\n./more.whl"),
        (lambda folder: (folder / "SHA256SUMS").write_text("", encoding="utf-8"), "SHA256SUMS"),
    ],
    ids=["another file", "no file", "a file more", "no sums"],
)
def test_modified_bundle_fails_verification(
    made: Path, tmp_path: Path, harm: Callable[[Path], object], words: str
) -> None:
    """A file that was changed, lost or added in transit is detected."""
    folder = tmp_path / "copy"
    shutil.copytree(made, folder)
    harm(folder)
    done = verify(folder)
    assert done.returncode != 0
    assert words in done.stdout + done.stderr


def test_unknown_bundle_part_is_rejected(tmp_path: Path) -> None:
    """A misspelled part must not be ignored."""
    done = make(tmp_path, "charts")
    assert (done.returncode, done.stderr) == (2, "no such part: charts\n")


def test_bundle_readme_names_current_version() -> None:
    """Its commands can be copied."""
    text = (BUNDLE / "README.md").read_text(encoding="utf-8")
    assert f"{NAME}-{__version__}.oci.tar" in text
    assert f"{NAME}-{__version__}.tgz" in text
    assert f"refs/tags/v{__version__}" in text
