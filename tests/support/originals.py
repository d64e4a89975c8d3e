"""Find references to standard library objects that were taken before gevent replaced them, and all modules.

``ServerProcess(..., inject="tests.support.originals")`` searches in the serving process. The search starts
when a file exists whose name is the value of ``ORIGINALS_REPORT`` followed by ``.ask``. The answer is written
to the file without that suffix.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

REPORT: Final = "ORIGINALS_REPORT"

MODULES: Final = (
    "time",
    "threading",
    "_thread",
    "socket",
    "_socket",
    "ssl",
    "queue",
    "select",
    "selectors",
    "subprocess",
    "os",
    "signal",
)

DELIBERATE: Final = frozenset(
    {
        "webhook.app.log_writer",  # a native thread writes the log
        "webhook.app.native_resolver",  # native threads resolve names
        "webhook.server.sockets",  # it is never blocking, and waits through the loop
        "tests.chaos.serve",
    }
)
"""Modules of the product that take an original by ``gevent.monkey.get_original`` on purpose."""

_FOREIGN: Final = ("gevent", "greenlet", "_gevent", "tests.support.originals")
"""gevent keeps the originals because it uses them."""


def find(originals: dict[int, str]) -> Iterator[str]:
    """Yield each place that holds an original: a module, a class, or the defaults of a function."""
    standard = sys.stdlib_module_names
    modules: list[tuple[str, object]] = list(sys.modules.items())  # a program may enter anything
    for name, module in modules:
        top = name.partition(".")[0]
        if not isinstance(module, types.ModuleType) or top in standard or name.startswith(_FOREIGN):
            continue
        for key, value in list(vars(module).items()):
            if id(value) in originals and not key.startswith("__"):
                yield f"{name}.{key} is {originals[id(value)]}"
    gc.unfreeze()  # the program freezes all long-lived objects, which hides them from the collector
    for obj in gc.get_objects():
        if isinstance(obj, types.FunctionType):
            yield from _in_function(obj, originals, standard)
        elif isinstance(obj, type):
            home = str(obj.__module__)
            if home.partition(".")[0] in standard or home.startswith(_FOREIGN):
                continue
            for key, value in list(vars(obj).items()):
                held = value.__func__ if isinstance(value, staticmethod | classmethod) else value
                if id(held) in originals:
                    yield f"{home}.{obj.__qualname__}.{key} is {originals[id(held)]}"


def _in_function(function: types.FunctionType, originals: dict[int, str], standard: Any) -> Iterator[str]:
    module = str(function.__module__)
    if module.partition(".")[0] in standard or module.startswith(_FOREIGN):
        return
    kept = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for cell in function.__closure__ or ():
        try:
            kept.append(cell.cell_contents)
        except ValueError:  # it is empty
            continue
    for value in kept:
        if id(value) in originals:
            yield f"{module}.{function.__qualname__} keeps {originals[id(value)]}"


def _originals() -> dict[int, str]:
    from gevent import monkey

    found = {}
    for module in MODULES:
        for name, original in monkey.saved.get(module, {}).items():
            now = getattr(__import__(module), name, None)
            if callable(original) and now is not original:
                found[id(original)] = f"{module}.{name}"
    return found


def _answer(worker: Any) -> None:
    run = worker.Worker.run

    def run_asked(self: Any) -> None:
        import gevent

        def wait() -> None:
            report = Path(os.environ[REPORT])
            while not report.with_suffix(".ask").exists():
                gevent.sleep(0.05)
            modules = sorted(sys.modules)
            originals = _originals()
            found = sorted(set(find(originals)))
            fresh = report.with_suffix(".new")
            answer = {"modules": modules, "originals": sorted(originals.values()), "found": found}
            fresh.write_text(json.dumps(answer), encoding="utf-8")
            fresh.rename(report)

        gevent.spawn(wait)
        run(self)

    worker.Worker.run = run_asked


HOOKS: Final = {"webhook.server.worker": _answer}
