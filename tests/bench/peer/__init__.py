"""A webhook on Go's net/http that only decodes and admits, if ``go`` is installed to build it."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench.load import connect
from tests.support.go_build import build
from tests.support.serving import Certificate, free_port

SOURCE = Path(__file__).parent

ABSENT = "skipped: go is not installed, or could not build it"


def build_peer() -> Path | None:
    """Return the built program, ``None`` if it cannot be built here."""
    return build(SOURCE)


class PeerProcess:
    """The built program in front of ``/validate``, ready when entered."""

    def __init__(self, program: Path, certificate: Certificate, processors: int | None = None) -> None:
        """Use at most ``processors`` at a time, by default all of the machine."""
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self._ca = certificate.ca
        files = (str(certificate.certificate), str(certificate.key))
        self._command = [str(program), f"127.0.0.1:{self.port}", *files]
        self._environment = dict(os.environ)
        if processors is not None:
            self._environment["GOMAXPROCS"] = str(processors)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL, env=self._environment)
        ends = time.monotonic() + 30
        while time.monotonic() < ends:
            try:
                connect(self.port, self._ca).close()
            except OSError:
                time.sleep(0.05)
            else:
                return self
        self._process.kill()
        raise AssertionError("the peer did not become ready")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
