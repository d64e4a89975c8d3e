"""Go's net/http as a second floor, where there is a ``go`` to build it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench.load import connect
from tests.support.serving import Certificate, free_port

SOURCE = Path(__file__).parent


def build_peer(folder: Path) -> Path | None:
    """Return the built program, ``None`` where it cannot be built here."""
    go = shutil.which("go")
    if go is None:
        return None
    target = folder / "peer"
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false"}
    command = [go, "build", "-o", str(target), "."]
    done = subprocess.run(command, cwd=SOURCE, env=environment, capture_output=True, text=True, timeout=600)
    if done.returncode:
        print(f"go could not build the peer: {done.stderr.strip()[-500:]}")
        return None
    return target


class PeerProcess:
    """The built program in front of ``/validate``, ready when entered."""

    def __init__(self, program: Path, certificate: Certificate) -> None:
        self.port = free_port()
        self._ca = certificate.ca
        files = (str(certificate.certificate), str(certificate.key))
        self._command = [str(program), f"127.0.0.1:{self.port}", *files]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
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
