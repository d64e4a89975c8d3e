"""Classes of commands and groups: the help shows examples, and commands are imported on demand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Final, cast

import click

from webhook.errors import ConfigError, WebhookError

_SHORT_OPTION: Final = re.compile(r"-[A-Za-z]=")


class Command(click.Command):
    """A command whose help ends with examples."""

    def __init__(self, *args: Any, examples: Sequence[str], **options: Any) -> None:
        """Keep ``examples``, lines of text that name the program as ``swr-trust``."""
        super().__init__(*args, **options)
        self.examples = examples

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Accept ``-o=json``, as kubectl does: click alone would take ``=json`` as the value."""
        end = args.index("--") if "--" in args else len(args)
        words = [f"{word[:2]}{word[3:]}" if _SHORT_OPTION.match(word) else word for word in args[:end]]
        try:
            return super().parse_args(ctx, words + args[end:])
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # click sets it only for some errors
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        Raises:
            WebhookError: the configuration cannot be used; the text names the file.
        """
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            problems = "".join(f"\n  {problem}" for problem in error.problems)
            file = ctx.params["config"]
            raise WebhookError(f"the configuration {file} cannot be used:{problems}") from None

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        write_lines(ctx, formatter, "Examples", self.examples)


class LazyCommand(click.Command):
    """A name and a summary for lists; the command itself is imported from ``webhook.cli.<name>``."""

    def load(self) -> click.Command:
        """Return the module's ``command``."""
        return cast("click.Command", import_module(f"webhook.cli.{self.name}").command)


class LazyGroup(click.Group):
    """A group that imports a command only when that command runs or shows its help."""

    def __init__(
        self, *args: Any, lazy: Mapping[str, str], notes: Mapping[str, Sequence[str]], **options: Any
    ) -> None:
        """Add the commands of ``lazy``, which maps names to summaries. ``notes`` are sections of the help."""
        super().__init__(*args, **options)
        self.notes = notes
        for name, summary in lazy.items():
            self.add_command(LazyCommand(name, short_help=summary))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which they were added."""
        del ctx
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that ``args`` begins with, and the words after it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, LazyCommand) else command, rest

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the notes."""
        for title, lines in self.notes.items():
            write_lines(ctx, formatter, title, lines)


def write_lines(ctx: click.Context, formatter: click.HelpFormatter, title: str, lines: Sequence[str]) -> None:
    """Write a section of unwrapped lines that contain the name of the called program."""
    program = ctx.find_root().info_name or ""
    with formatter.section(title):
        for line in lines:
            formatter.write(f"  {line}\n".replace("swr-trust ", f"{program} "))
