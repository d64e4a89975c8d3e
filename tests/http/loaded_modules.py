"""Start ``swr-trust`` so that its worker writes the names of its modules into a file once it serves.

``ServerProcess(..., inject="tests.http.loaded_modules")`` starts the installed program so.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

REPORT: Final = "LOADED_MODULES_REPORT"
"""The variable that names the file."""


def _report(module: Any) -> None:
    start = module.WebhookProcess.start

    def start_and_report(self: Any) -> None:
        start(self)
        Path(os.environ[REPORT]).write_text("\n".join(sys.modules), encoding="utf-8")

    module.WebhookProcess.start = start_and_report


HOOKS: Final = {"webhook.app.webhook_process": _report}
