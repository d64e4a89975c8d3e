"""``swr-trust``: arguments in, exit code out. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from webhook.cli.arguments import build_parser
from webhook.cli.exits import EXIT_USAGE
from webhook.errors import ConfigError, WebhookError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 means all is well, 1 that something was refused, 2 that the command could not be run as
    given, 3 that something could not be found out.
    """
    _accept_any_text()
    options = build_parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except ConfigError as error:
        print(f"swr-trust: the configuration {options.config} cannot be used:", file=sys.stderr)
        for problem in error.problems:
            print(f"  {problem}", file=sys.stderr)
        return EXIT_USAGE
    except WebhookError as error:
        print(f"swr-trust: {error}", file=sys.stderr)
        return EXIT_USAGE
    except BrokenPipeError:
        # The reader of a pipe has gone, `swr-trust ... | head` for one: nothing is left to say, and
        # the interpreter must not try again at its end.
        _drop_output()
        return EXIT_USAGE
    except OSError as error:
        print(f"swr-trust: {error.strerror or error}", file=sys.stderr)
        _drop_output()
        return EXIT_USAGE
    except KeyboardInterrupt:
        return 130
    return code


def _accept_any_text() -> None:
    """Let no character end the command: escape what the locale's encoding cannot write.

    A stream that the caller has closed is written to nowhere.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open to the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Let the interpreter not fail at its end on what could not be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
