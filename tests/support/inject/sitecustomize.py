"""Changes the installed program from outside: Python imports this module first (documentation of ``site``).

``SWR_TRUST_INJECT`` names a module whose ``HOOKS`` maps names of modules to functions; each is called with its
module once that has been imported. Nothing is imported here that the program could find there before it has
patched the standard library, and the program's own order of imports stays as it is.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder

TYPE_CHECKING = False  # importing typing would change the order of imports
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_NAME = os.environ.get("SWR_TRUST_INJECT")


class _AfterImport:
    """A finder that finds nothing itself: it lets a hook follow the import of a module."""

    def __init__(self, hooks: dict[str, Callable[[ModuleType], None]]) -> None:
        self._hooks = hooks

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        hook = self._hooks.pop(name, None)
        if hook is None:
            return None
        spec = PathFinder.find_spec(name, path, target)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def load_and_call(module: ModuleType) -> None:
            load(module)
            hook(module)

        spec.loader.exec_module = load_and_call  # type: ignore[method-assign]  # of one loader
        return spec


if _NAME:
    sys.meta_path.insert(0, _AfterImport(dict(__import__(_NAME, fromlist=["HOOKS"]).HOOKS)))
