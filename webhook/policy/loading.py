"""Reading the configuration file: every problem at once, each with its path."""

from __future__ import annotations

import difflib
import hashlib
import re
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from webhook.errors import ConfigError, Problem
from webhook.policy.compiling import compile_policy
from webhook.policy.model import Policy
from webhook.policy.schema import PolicyModel

MAX_BYTES: Final = 1024 * 1024
"""A ConfigMap holds no more."""

MAX_VALUES: Final = 100_000
"""Values in a file, aliases counted each time: a few lines of aliases can stand for billions."""

MAX_DEPTH: Final = 30
MAX_PROBLEMS: Final = 100

_BOOLEAN: Final = "tag:yaml.org,2002:bool"
_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.CSafeLoader):
    """YAML by libyaml, without surprises.

    Dates stay text, only true and false are booleans, and a key that stands twice is a mistake.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {name!r} stands here twice", key.start_mark
                )
            seen.add(name)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, re.compile("^(?:true|false)$") if tag == _BOOLEAN else pattern)
        for tag, pattern in resolvers
        if tag != _TIMESTAMP and not (tag == _BOOLEAN and first not in "tf")
    ]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def load_policy(path: str) -> Policy:
    """Read the file at ``path``.

    Raises:
        ConfigError: it cannot be read or used; lists every problem.
    """
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError([Problem("", f"{path} cannot be read: {error.strerror or error}")]) from None
    return parse_policy(data)


def parse_policy(data: bytes | str) -> Policy:
    """Read a configuration from its bytes.

    Raises:
        ConfigError: it cannot be used; lists every problem.
    """
    raw = data.encode() if isinstance(data, str) else data
    value = _parse_yaml(raw)
    try:
        model = PolicyModel.model_validate(value)
    except ValidationError as error:
        raise ConfigError([_explain(detail) for detail in error.errors()[:MAX_PROBLEMS]]) from None
    policy, problems = compile_policy(model, hashlib.sha256(raw).hexdigest()[:12])
    if policy is None:
        raise ConfigError(problems[:MAX_PROBLEMS])
    return policy


def _parse_yaml(raw: bytes) -> Any:
    if len(raw) > MAX_BYTES:
        raise ConfigError([Problem("", f"the file is larger than {MAX_BYTES // 1024} KiB")])
    try:
        documents = list(yaml.load_all(raw, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark is not None else ""
        raise ConfigError([Problem("", f"{line}{error.problem or 'no YAML'}")]) from None
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise ConfigError([Problem("", f"no YAML: {str(error).splitlines()[0]}")]) from None
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise ConfigError([Problem("", "write one mapping with apiVersion, kind and registries")])
    _check_size(documents[0])
    return documents[0]


def _check_size(value: Any) -> None:
    left = MAX_VALUES
    stack = [(value, 0)]
    while stack:
        item, depth = stack.pop()
        left -= 1
        if left < 0 or depth > MAX_DEPTH:
            raise ConfigError([Problem("", "nested too deeply, or too many values")])
        if isinstance(item, dict):
            stack += [(inner, depth + 1) for inner in item.values()]
        elif isinstance(item, list):
            stack += [(inner, depth + 1) for inner in item]


def _explain(detail: ErrorDetails) -> Problem:
    """Return what one error of the schema means, in words for whoever wrote the file."""
    path = ""
    for part in detail["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    context = detail.get("ctx", {})
    kind = detail["type"]
    key = str(detail["loc"][-1]) if detail["loc"] else ""
    message = {
        "missing": "is missing",
        "extra_forbidden": f"no such key{_suggest(detail, key)}",
        "string_type": "write text; put quotes around it if it looks like a number",
        "bool_type": "write true or false",
        "int_type": "write a whole number",
        "float_type": "write a number",
        "list_type": "write a list",
        "model_type": "write a mapping",
        "dict_type": "write a mapping",
        "literal_error": f"write {context.get('expected')}",
        "too_short": "write at least one entry",
        "too_long": f"at most {context.get('max_length')} entries",
        "string_too_long": f"at most {context.get('max_length')} characters",
        "string_pattern_mismatch": "is empty, too long, or holds characters that cannot be used here",
        "greater_than_equal": f"must be at least {_number(context.get('ge'))}",
        "less_than_equal": f"must be at most {_number(context.get('le'))}",
        "value_error": str(context.get("error", "")),
    }.get(kind, detail["msg"])
    if kind == "extra_forbidden" and _looks_secret(key):
        message = "a secret does not belong into this file: name a file that holds it, or use the environment"
    return Problem(path, message)


def _suggest(detail: ErrorDetails, key: str) -> str:
    model: Any = PolicyModel
    for part in detail["loc"][:-1]:
        if isinstance(part, int):
            continue
        model = _model_of(model, str(part))
    names = [field.alias or name for name, field in model.model_fields.items()]
    close = difflib.get_close_matches(key, names, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(names)}"


def _model_of(model: type[BaseModel], alias: str) -> type[BaseModel]:
    for name, field in model.model_fields.items():
        if alias in (field.alias, name):
            return _find_model(field.annotation) or model
    return model


def _find_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = _find_model(part)
        if found is not None:
            return found
    return None


def _looks_secret(key: str) -> bool:
    lowered = key.lower()
    words = ("secret", "password", "token", "accesskey")
    return lowered in ("ak", "sk") or (
        not lowered.endswith("file") and any(word in lowered for word in words)
    )


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)
