"""``swr-trust config check``: all that is wrong with a policy file, and all that is doubtful."""

from __future__ import annotations

import argparse
import sys
import time

import msgspec

from webhook.cli.exit_codes import EXIT_OK, EXIT_USAGE
from webhook.errors import ConfigError, Problem
from webhook.policy.linting import lint
from webhook.policy.loading import load_policy


def run(options: argparse.Namespace) -> int:
    """Check ``options.config``; problems make exit code 2, warnings do not."""
    errors: tuple[Problem, ...] = ()
    warnings: list[Problem] = []
    try:
        policy = load_policy(options.config)
        warnings = lint(policy, time.time())
    except ConfigError as error:
        errors = error.problems
    if options.output == "json":
        _print_json(options.config, errors, warnings)
    else:
        _print_text(options.config, errors, warnings)
    return EXIT_USAGE if errors else EXIT_OK


def _print_json(path: str, errors: tuple[Problem, ...], warnings: list[Problem]) -> None:
    def plain(problem: Problem) -> dict[str, str]:
        return {"path": problem.path, "message": problem.message}

    report = {
        "file": path,
        "valid": not errors,
        "errors": [plain(problem) for problem in errors],
        "warnings": [plain(problem) for problem in warnings],
    }
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(report)).decode() + "\n")


def _print_text(path: str, errors: tuple[Problem, ...], warnings: list[Problem]) -> None:
    for problem in errors:
        print(f"error: {problem}")
    for problem in warnings:
        print(f"warning: {problem}")
    if errors:
        print(f"{path}: {len(errors)} error(s); it cannot be used")
    elif warnings:
        print(f"{path}: valid, {len(warnings)} warning(s)")
    else:
        print(f"{path}: valid")
