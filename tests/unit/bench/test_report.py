"""The figures and tables of ``make bench``."""

from __future__ import annotations

from functools import partial

import pytest

from tests.bench.report import (
    BEGINS,
    ENDS,
    Figure,
    Rounds,
    at_least,
    at_most,
    put_between_marks,
    render_markdown,
    repeat,
)


def test_ratio_is_computed_within_each_round() -> None:
    """A machine that is three times slower in one round does not change a ratio."""
    seen = Rounds({"ours": [8.0, 24.0, 9.0], "floor": [10.0, 30.0, 10.0]})
    assert (seen.ratio("ours", "floor"), seen.median("ours")) == (0.8, 9.0)


def test_added_time_is_compared_within_each_round() -> None:
    """What is added to a base of the same round counts, not what the machine adds to all of them."""
    seen = Rounds({"ours": [2.5, 7.5, 2.6], "go": [2.0, 6.0, 2.0], "none": [1.0, 3.0, 1.0]})
    assert seen.added_ratio("ours", "go", "none") == 1.5


def test_variants_run_alternately() -> None:
    """A machine that becomes slower during the run slows all of them."""
    order: list[str] = []

    def record(name: str) -> int:
        order.append(name)
        return len(order)

    seen = repeat({name: partial(record, name) for name in ("ours", "go")}, rounds=2)
    assert order == ["ours", "go", "ours", "go"]
    assert seen == {"ours": [1, 3], "go": [2, 4]}


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        (at_most("cost", 1.25, 1.25), Figure("cost", "1.25", "<= 1.25", good=True)),
        (at_most("cost", 1.26, 1.25), Figure("cost", "1.26", "<= 1.25", good=False)),
        (at_least("share", 0.8, 0.8), Figure("share", "0.80", ">= 0.8", good=True)),
        (at_least("share", 0.79, 0.8), Figure("share", "0.79", ">= 0.8", good=False)),
    ],
)
def test_figure_states_whether_target_is_met(figure: Figure, expected: Figure) -> None:
    """A figure at the limit meets it."""
    assert figure == expected


def test_tables_are_written_as_markdown() -> None:
    """One heading per table; lines that belong to the line above are indented."""
    text = render_markdown(
        {"Warm": [Figure("ours", "9/s"), Figure("  ratio", "0.7", ">= 0.8", good=False)]}, "On 2 cores."
    )
    assert text.splitlines() == [
        "On 2 cores.",
        "",
        "### Warm",
        "",
        "| | measured | target | |",
        "|---|---|---|---|",
        "| ours | 9/s |  |  |",
        "| &nbsp;&nbsp;ratio | 0.7 | >= 0.8 | NO |",
    ]


def test_tables_replace_those_of_previous_run() -> None:
    """Everything else stays as it is."""
    text = f"# A\n\n{BEGINS}\nold\n{ENDS}\n\nB\n"
    once = put_between_marks(text, "new\n")
    assert once == f"# A\n\n{BEGINS}\n\nnew\n\n{ENDS}\n\nB\n"
    assert put_between_marks(once, "new\n") == once


def test_page_without_marks_is_rejected() -> None:
    """It must not be overwritten."""
    with pytest.raises(ValueError, match="there are no two lines"):
        put_between_marks("# A\n", "new\n")
