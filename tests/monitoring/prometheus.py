"""A real Prometheus on the loopback address, for the duration of a test."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.support.serving import free_port

INTERVAL = "300ms"


class Prometheus:
    """Scrapes ``jobs`` (Prometheus's ``scrape_configs``) while its context is entered."""

    def __init__(self, folder: Path, jobs: list[dict[str, Any]]) -> None:
        """Write the configuration into ``folder``, which also holds the data."""
        self.port = free_port()
        self._log = folder / "prometheus.log"
        self._data = folder / "prometheus"
        self._config = folder / "prometheus.yaml"
        timing = {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL}
        self._config.write_text(yaml.safe_dump({"global": timing, "scrape_configs": jobs}), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the current vector of an expression.

        Raises:
            AssertionError: Prometheus rejects the expression.
        """
        query = urllib.parse.urlencode({"query": expression})
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/api/v1/query?{query}")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=10) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 503:
                    raise ConnectionError("it has not started yet") from None
                raise AssertionError(f"{expression}: {error.read().decode()}") from None
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def wait_for(self, expression: str) -> None:
        """Wait until an expression has a value."""
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            assert self._process is not None
            assert self._process.poll() is None, self._log.read_text(encoding="utf-8")
            try:
                if self.query(expression):
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"{expression} stayed empty:\n{self._log.read_text(encoding='utf-8')}")

    def __enter__(self) -> Self:
        command = ["prometheus", f"--config.file={self._config}", f"--storage.tsdb.path={self._data}"]
        command += [f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, "GOMAXPROCS": "1"}
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)
