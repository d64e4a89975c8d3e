"""Problems with CA files, for metrics and ``/readyz?verbose``."""

from __future__ import annotations

from prometheus_client import Counter

from webhook.recorder import Recorder


class SwrConditions(Recorder):
    """CA files that cannot be used."""

    def __init__(self, certificate_loads: Counter) -> None:
        """Count CA files that were read again in ``certificate_loads``, by result."""
        self.certificate_loads = certificate_loads
        self.ca_file_problems: dict[str, str] = {}
        """Why the content of a CA file is not in use, by path."""

    def ca_file_loaded(self, path: str) -> None:
        """Record that the new content of a CA file is in use."""
        self.ca_file_problems.pop(path, None)
        self.certificate_loads.labels("ok").inc()

    def ca_file_rejected(self, path: str, problem: str) -> None:
        """Record that the new content of a CA file cannot be used."""
        self.ca_file_problems[path] = problem
        self.certificate_loads.labels("failed").inc()
