"""The number of examples: a few fixed ones in the suite, many new ones in ``make fuzz``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from hypothesis import HealthCheck, settings

EXAMPLES: Final = int(os.environ.get("FUZZ_EXAMPLES", "0"))

thorough: Final = settings(
    max_examples=EXAMPLES or 200,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def seeds(share: int) -> Iterator[int]:
    """Yield the seeds of inputs that are made ``share`` at a time, as many as one property tries.

    They are the same in every run of the suite, and new in each ``make fuzz``. A test that fails shows its
    input.
    """
    first = int.from_bytes(os.urandom(6), "big") if EXAMPLES else 0
    # Inputs without a strategy are much cheaper: ten times as many take about as long.
    yield from range(first, first + 10 * (EXAMPLES or 300) // share)
