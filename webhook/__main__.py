"""Where the program begins, however it is started: ``swr-trust``, ``python -m webhook``, the image's command.

Nothing else of the product may be imported before ``main`` has looked at the arguments: the server runs on a
patched standard library (``webhook.patching``).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from webhook.patching import patch


def serves(arguments: Sequence[str]) -> bool:
    """Whether the first word that is no option is the command ``serve``."""
    return next((word for word in arguments if not word.startswith("-")), "") == "serve"


def main() -> int:
    """Run the command line with the arguments of this process and return its exit code."""
    patch()
    from webhook.cli.main import main as run  # noqa: PLC0415 - only now

    return run()


if __name__ == "__main__":
    sys.exit(main())
