"""Base of the configuration schema: strict models, and problems at their keys."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

Part = tuple[str | int, ...]
"""Position of a problem relative to its model: keys and indices."""


def raise_problems(problems: Iterable[tuple[Part, str]]) -> None:
    """Report all problems of a model at once, each with its position."""
    found = list(problems)
    if found:
        raise PydanticCustomError("problems", "see the context", {"problems": found})


class Model(BaseModel):
    """A mapping of the file: its keys are written in camelCase, and others are rejected."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=False,
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        model_title_generator=lambda model: model.__name__.removesuffix("Model"),
    )
