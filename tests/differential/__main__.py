"""Record what Go reads of all cases: ``python -m tests.differential``. Needs ``go``."""

from __future__ import annotations

import sys

from tests.differential.go_reader import SOURCE
from tests.differential.recording import RECORDED, record
from tests.support.go_build import build


def main() -> int:
    """Write ``RECORDED``."""
    program = build(SOURCE)
    if program is None:
        print("there is no go to build the server with")
        return 1
    record(program)
    print(f"wrote {RECORDED.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
