"""The log lines and counters of recorders, as tests compare them."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

from webhook.telemetry.logs import LineLog
from webhook.telemetry.metrics import Metrics


class Recorded:
    """The log and the metrics that recorders write to."""

    def __init__(self, level: int = logging.INFO) -> None:
        self.metrics = Metrics("test")
        self.stream = io.StringIO()
        self.log = LineLog(self.stream, "json", level)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines without the values that differ between runs."""
        lines = [json.loads(line) for line in self.stream.getvalue().split("\n")[:-1]]
        for line in lines:
            assert isinstance(line.pop("milliseconds"), float)
            assert line.pop("ts").endswith("Z")
        return lines

    def count(self, name: str, **labels: str) -> float:
        """Return the value of a counter, 0.0 if there is none."""
        return self.metrics.registry.get_sample_value(f"swr_trust_{name}", labels) or 0.0
