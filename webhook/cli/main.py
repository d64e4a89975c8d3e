"""``swr-trust``: arguments in, exit code out. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from webhook.cli.arguments import build_parser
from webhook.cli.exit_codes import EXIT_UNKNOWN, EXIT_USAGE
from webhook.errors import ConfigError, WebhookError

TRACEBACK: Final = "SWR_TRUST_TRACEBACK"
"""The variable that asks for the traceback of a mistake of the program's own."""


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
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        # The text of an exception may hold what it failed on, a header with a token for one.
        print(
            f"swr-trust: failed by a mistake of its own: {type(error).__name__} in {_place_of(error)}. "
            f"Please report it; {TRACEBACK}=1 shows the traceback, which may hold secrets",
            file=sys.stderr,
        )
        return EXIT_UNKNOWN
    return code


def _place_of(error: Exception) -> str:
    """Return the last place in the product's own code that an exception came through."""
    places = [
        f"{Path(frame.filename).stem}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(Path(__file__).parents[1])
    ]
    return places[-1]


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
