"""The root of the command line: runs a command, reports errors, returns the exit code."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
from click.exceptions import Exit, NoArgsIsHelpError, NoSuchCommand, NoSuchOption

from webhook import __version__
from webhook.cli.command import Command, LazyGroup
from webhook.cli.exit_codes import EXIT_INTERRUPTED, EXIT_OK, EXIT_UNKNOWN, EXIT_USAGE
from webhook.errors import WebhookError
from webhook.patching import is_patched

TRACEBACK: Final = "SWR_TRUST_TRACEBACK"
"""Environment variable that shows the traceback of an internal error."""

COMPLETE: Final = "_SWR_TRUST_COMPLETE"
"""Environment variable with which the completion script asks for completions."""

PLUGIN: Final = "kubectl-swr_trust"
"""File name under which kubectl finds the plugin ``kubectl swr-trust``."""

COMMANDS: Final = {
    "check": "Look up images in SWR.",
    "review": "Evaluate manifests as the webhook would.",
    "audit": "Evaluate running Pods: what would enforcing deny?",
    "survey": "Show which evidence running images have, and recommend one.",
    "explain": "Explain why a workload is denied and what to do.",
    "doctor": "Check configuration, SWR and the cluster.",
    "evidence": "Report denials, exemptions and break-glass from the decision log.",
    "config": "Check a policy file, or print its JSON Schema.",
    "serve": "Run the admission webhook.",
    "rescan": "Audit the cluster repeatedly.",
}
"""Each is imported from the module of its name when it is used."""


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    notes={
        "Examples": [
            "swr-trust config check policy.yaml",
            "swr-trust check --config policy.yaml IMAGE",
            "helm template ./chart | swr-trust review --config policy.yaml -",
            "swr-trust audit --config policy.yaml -o html > audit.html",
            "swr-trust explain shop/web",
            "swr-trust help COMMAND",
        ],
        "Exit codes": [
            "0  success",
            "1  something is denied, or a check failed",
            "2  wrong arguments or configuration",
            "3  something could not be determined",
        ],
    },
)
@click.version_option(__version__, message="swr-trust %(version)s", help="Show the version and exit.")
def swr_trust() -> None:
    """Image trust for Huawei Cloud CCE: Pods run only images that SWR marks as trusted."""


@swr_trust.command(cls=Command, examples=["swr-trust version"])
def version() -> int:
    """Show the version."""
    print(f"swr-trust {__version__}")
    return EXIT_OK


def _complete_command(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    del ctx, param
    return [name for name in swr_trust.commands if name.startswith(incomplete)]


@swr_trust.command("help", cls=Command, examples=["swr-trust help review", "swr-trust help config check"])
@click.argument("command", nargs=-1, shell_complete=_complete_command)
@click.pass_context
def show_help(ctx: click.Context, command: tuple[str, ...]) -> None:
    """Show the help of a command."""
    with swr_trust.make_context(ctx.find_root().info_name, [*command, "--help"]) as again:
        swr_trust.invoke(again)


@swr_trust.command(
    cls=Command,
    examples=[
        'bash: eval "$(swr-trust completion bash)" in ~/.bashrc',
        'zsh:  eval "$(swr-trust completion zsh)" in ~/.zshrc, after compinit',
        "fish: swr-trust completion fish > ~/.config/fish/completions/swr-trust.fish",
    ],
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print the completion script of a shell."""
    from click.shell_completion import ShellComplete, get_completion_class  # noqa: PLC0415 - only for this

    found = get_completion_class(shell)
    assert found is not None
    # Not found.source(): for bash, that runs the bash of this machine to learn its version.
    print(ShellComplete.source(found(swr_trust, {}, "swr-trust", COMPLETE)))
    return EXIT_OK


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 means success, 1 that something is denied, 2 that the command could not run as given, 3 that
    something could not be determined.
    """
    _accept_any_text()
    program = "kubectl swr-trust" if Path(sys.argv[0]).name == PLUGIN else "swr-trust"
    try:
        code = _run(program, list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except Exit as end:
        return end.exit_code
    except click.UsageError as error:
        print(_describe(error), file=sys.stderr)
        return EXIT_USAGE
    except WebhookError as error:
        print(f"swr-trust: {error}", file=sys.stderr)
        return EXIT_USAGE
    except BrokenPipeError:
        # The reader of a pipe has ended, as in `swr-trust ... | head`: there is nothing to report, and
        # the interpreter must not flush again when it exits.
        _drop_output()
        return EXIT_USAGE
    except OSError as error:
        print(f"swr-trust: {error.strerror or error}", file=sys.stderr)
        _drop_output()
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        # The text of an exception may contain the value it failed on, such as a header with a token.
        print(
            f"swr-trust: internal error: {type(error).__name__} in {_place_of(error)}. "
            f"Please report it. {TRACEBACK}=1 shows the traceback, which may contain secrets",
            file=sys.stderr,
        )
        return EXIT_UNKNOWN
    return code


def _run(program: str, arguments: list[str]) -> int:
    """Run the command, or answer the shell's request for completions.

    ``click.Command.main`` is not used: it ends the process with other exit codes than documented when a
    pipe is closed or the user interrupts.

    Raises:
        WebhookError: the standard library was not patched before the product was imported.
    """
    if not is_patched():
        raise WebhookError("start this command as `swr-trust` or `python -m webhook`, which prepare Python")
    instruction = os.environ.get(COMPLETE)
    if instruction:
        from click.shell_completion import shell_complete  # noqa: PLC0415 - only for this

        return shell_complete(swr_trust, {}, program, COMPLETE, instruction)
    with swr_trust.make_context(program, arguments) as ctx:
        code: int = swr_trust.invoke(ctx)
        return code


def _describe(error: click.UsageError) -> str:
    """Return the problem of the arguments, the probable correction, and where the help is."""
    if isinstance(error, NoArgsIsHelpError):
        return error.message
    text = f"{error.message[:1].lower()}{error.message[1:].rstrip('.')}"
    if isinstance(error, NoSuchCommand):
        text = f"there is no command {error.command_name}"
    elif isinstance(error, NoSuchOption):
        text = f"there is no option {error.option_name}"
    elif isinstance(error, click.BadParameter) and error.param is not None:
        argument = isinstance(error.param, click.Argument)
        name = error.param.human_readable_name if argument else max(error.param.opts, key=len)
        text = f"{name} is missing" if isinstance(error, click.MissingParameter) else f"{name}: {text}"
    similar = getattr(error, "possibilities", None)
    if similar:
        text += f". Did you mean {' or '.join(similar)}?"
    path = error.ctx.command_path if error.ctx is not None else "swr-trust"
    return f"{path}: {text}\nRun '{path} --help' for options and examples."


def _place_of(error: Exception) -> str:
    """Return the innermost line of the product's code in an exception's traceback."""
    places = [
        f"{Path(frame.filename).stem}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(Path(__file__).parents[1])
    ]
    return places[-1]


def _accept_any_text() -> None:
    """Escape characters that the locale's encoding cannot write.

    A stream that the caller has closed is replaced by the null device.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open until the process ends
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Redirect standard output to the null device, so that the interpreter's last flush cannot fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
