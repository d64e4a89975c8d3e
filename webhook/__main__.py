"""Entry point of ``swr-trust``, ``python -m webhook`` and the image's command.

Every command runs on the patched standard library (``webhook.patching``, docs/decisions/0018). Nothing else
of the product is imported before ``main`` has patched it.
"""

from __future__ import annotations

import sys

from webhook.patching import patch


def main() -> int:
    """Run the command line with the arguments of this process and return its exit code."""
    patch()
    from webhook.cli.main import main as run  # noqa: PLC0415 - only now

    return run()


if __name__ == "__main__":
    sys.exit(main())
