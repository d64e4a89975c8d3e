"""Loading of the configuration file; reports all problems at once, each with its path."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from typing import Final

from pydantic import ValidationError

from webhook.errors import ConfigError, Problem
from webhook.policy.compiling import compile_policy
from webhook.policy.document import read_document
from webhook.policy.entries import check_unique_names, entries_of
from webhook.policy.explaining import explain
from webhook.policy.files import read_file
from webhook.policy.key_file_checks import check_key_files
from webhook.policy.model import Policy
from webhook.policy.registry_checks import check_registries
from webhook.policy.schema import PolicyModel
from webhook.policy.signing_keys import KeyReader, no_file
from webhook.registries import SignatureSettings

MAX_PROBLEMS: Final = 100
"""Problems that are listed; others are counted."""


def load_policy(
    path: str, *, with_keys: bool = True, may_be_unusable: Callable[[str], bool] = no_file
) -> Policy:
    """Read the file at ``path``; see ``parse_policy``.

    Raises:
        ConfigError: it cannot be read or used; lists every problem.
    """
    return parse_policy(read_file(path), may_be_unusable, with_keys=with_keys)


def parse_policy(
    data: bytes | str,
    may_be_unusable: Callable[[str], bool] = no_file,
    *,
    now: float | None = None,
    with_keys: bool = True,
) -> Policy:
    """Read a configuration from its text, and the files of its signing keys.

    A key whose file cannot be used is an error, unless ``may_be_unusable`` returns ``True`` for the path of
    the file: then it does not count. Nor do keys that have lapsed at ``now`` (epoch seconds, by default the
    current time). Without ``with_keys``, no file is read and no key counts: to check a configuration where
    its files are not.

    Raises:
        ConfigError: it cannot be used; lists every problem.
    """
    reader = KeyReader(now if now is not None else time.time()) if with_keys else None
    raw = data.encode(errors="surrogatepass") if isinstance(data, str) else data
    value, problems = read_document(raw)
    model: PolicyModel | None = None
    try:
        model = PolicyModel.model_validate(value)
    except ValidationError as error:
        problems += explain(error)
    problems += check_registries(value)
    for key in ("rules", "exemptions"):
        problems += check_unique_names(entries_of(value, key))
    of_files = list(check_key_files(value, reader, may_be_unusable)) if reader is not None else []
    if problems or of_files or model is None:
        found = _bounded(_first_of_each([*problems, *of_files]))
        raise ConfigError(found, depends_on_files=not problems)
    read_keys = reader.read if reader is not None else _leave_unread
    return compile_policy(model, hashlib.sha256(raw).hexdigest()[:12], read_keys)


def _leave_unread(settings: SignatureSettings) -> SignatureSettings:
    return settings


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
