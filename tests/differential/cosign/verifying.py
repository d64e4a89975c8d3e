"""Verifying cases by cosign and by this project."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.differential.cosign.cases import Case
from tests.differential.cosign.registry import MemoryRegistry
from tests.signing.finding import find_signatures, list_attempts
from tests.signing.making import IMAGE, signer
from webhook.signatures.attempt import Attempt
from webhook.signatures.check import SignatureResult
from webhook.signatures.requirement import Requirement

PROCESSES = 4
"""Processes of cosign at a time. Each waits for some of its time."""


@dataclass(frozen=True)
class CosignResult:
    """What cosign said about a case."""

    version: str
    is_valid: bool

    error: str
    """The first line of its error."""


@dataclass(frozen=True)
class OwnResult:
    """What this project says."""

    is_valid: bool
    attempts: tuple[Attempt, ...]


class Cosign:
    """A program of the kit, with a home directory of its own."""

    def __init__(self, kit: Path, version: str, folder: Path) -> None:
        self.version = version
        self._program = kit / version
        self._folder = folder
        self._environment = {"HOME": str(folder), "OTEL_TRACES_EXPORTER": "none"}
        self._options: list[str] = []
        if version == "cosign2":
            # It requires one as soon as there is a bundle. An empty one is enough.
            root = folder / "root.json"
            command = [str(kit / "cosign"), "trusted-root", "create", "--out", str(root)]
            subprocess.run(command, env=self._environment, capture_output=True, check=True, timeout=60)
            self._options = ["--trusted-root", str(root)]

    def verify_all(self, cases: Sequence[Case]) -> list[CosignResult]:
        """Return the results of all cases, in their order."""
        for key in {case.key for case in cases}:
            (self._folder / f"{key}.pub").write_bytes(signer(key).pem)
        repositories = {case.name: case.repository for case in cases}
        with MemoryRegistry(repositories) as registry, ThreadPoolExecutor(PROCESSES) as pool:
            return list(pool.map(lambda case: self._verify(case, registry.host), cases))

    def _verify(self, case: Case, host: str) -> CosignResult:
        asked = [part for name, value in case.annotations.items() for part in ("-a", f"{name}={value}")]
        done = subprocess.run(
            [
                str(self._program),
                "verify",
                "--key",
                str(self._folder / f"{case.key}.pub"),
                "--insecure-ignore-tlog=true",
                "--allow-http-registry",
                *self._options,
                *asked,
                f"{host}/{case.name}@{IMAGE}",
            ],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        errors = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
        return CosignResult(self.version, done.returncode == 0, errors[0] if done.returncode else "")


def verify(case: Case) -> OwnResult:
    """Return this project's result."""
    requirement = Requirement(((case.key, signer(case.key).key),), 1, tuple(case.annotations.items()))
    check = find_signatures(case.repository, IMAGE, requirement)
    attempts = tuple(list_attempts(case.repository, IMAGE, requirement))
    return OwnResult(check.result is SignatureResult.SIGNED, attempts)
