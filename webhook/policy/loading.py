"""Loading of the configuration file; reports all problems at once, each with its path."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from pydantic import ValidationError

from webhook.errors import ConfigError, Problem
from webhook.policy.compiling import compile_policy
from webhook.policy.document import read_document
from webhook.policy.explaining import explain
from webhook.policy.files import read_file
from webhook.policy.model import Policy
from webhook.policy.registry_checks import check_names, check_registries, entries_of
from webhook.policy.schema import PolicyModel

MAX_PROBLEMS: Final = 100
"""Problems that are listed; others are counted."""


def load_policy(path: str) -> Policy:
    """Read the file at ``path``.

    Raises:
        ConfigError: it cannot be read or used; lists every problem.
    """
    return parse_policy(read_file(path))


def parse_policy(data: bytes | str) -> Policy:
    """Read a configuration from its text.

    Raises:
        ConfigError: it cannot be used; lists every problem.
    """
    raw = data.encode(errors="surrogatepass") if isinstance(data, str) else data
    value, problems = read_document(raw)
    model: PolicyModel | None = None
    try:
        model = PolicyModel.model_validate(value)
    except ValidationError as error:
        problems += explain(error)
    problems += check_registries(value)
    for key in ("rules", "exemptions"):
        problems += check_names(entries_of(value, key))
    if problems or model is None:
        raise ConfigError(_bounded(_first_of_each(problems)))
    return compile_policy(model, hashlib.sha256(raw).hexdigest()[:12])


def _first_of_each(problems: Iterable[Problem]) -> list[Problem]:
    """Return one problem per path, so that a missing value is not also reported as a wrong one."""
    first: dict[str, Problem] = {}
    for problem in problems:
        first.setdefault(problem.path, problem)
    return list(first.values())


def _bounded(problems: list[Problem]) -> list[Problem]:
    more = len(problems) - MAX_PROBLEMS
    if more <= 0:
        return problems
    return [*problems[:MAX_PROBLEMS], Problem("", f"and {more} more problems")]
