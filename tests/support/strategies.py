"""Hypothesis strategies for valid image references and for strings that are nearly valid."""

from __future__ import annotations

from hypothesis import strategies as st

component = st.from_regex(r"[a-z0-9]{1,6}((\.|_|__|-{1,3})[a-z0-9]{1,6}){0,2}", fullmatch=True)
path = st.lists(component, min_size=1, max_size=4).map("/".join)
host = st.from_regex(r"[a-z0-9]{1,8}(\.[a-z0-9]{1,8}){1,3}(:[1-9][0-9]{0,3})?", fullmatch=True)
tag = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
digest = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)


@st.composite
def references(draw: st.DrawFn) -> str:
    """Return a valid image reference."""
    # A first component with a dot would be a host.
    prefix = draw(st.one_of(st.just("team"), host))
    text = f"{prefix}/{draw(path)}"
    if draw(st.booleans()):
        text += f":{draw(tag)}"
    if draw(st.booleans()):
        text += f"@{draw(digest)}"
    return text


@st.composite
def near_misses(draw: st.DrawFn) -> str:
    """Return a valid reference with one change."""
    text = draw(references())
    position = draw(st.integers(0, len(text)))
    insert = draw(
        st.sampled_from(
            ["..", "/", "//", ":", "@", "$", "%2f", "%2e", "?", "#", "\n", "\0", " ", "é", "A", "_", "-", "'"]
        )
    )
    return text[:position] + insert + text[position:]
