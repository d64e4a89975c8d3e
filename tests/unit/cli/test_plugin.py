"""Other ways to call the command: as a kubectl plugin, and by the completion of shells."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.serving import COMMAND
from tests.unit.cli.test_rescan import kubeconfig
from webhook import __version__
from webhook.cli.main import PLUGIN, main

INSTALLED = Path(sys.executable).parent
ASSETS = os.environ.get("KUBEBUILDER_ASSETS", "")


def kubectl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the real kubectl with the installed programs on its PATH."""
    path = f"{INSTALLED}{os.pathsep}{os.environ['PATH']}"
    command = [f"{ASSETS}/kubectl", "swr-trust", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, "PATH": path}
    )


def test_plugin_is_installed_beside_the_command() -> None:
    """The file has the name for which kubectl searches the PATH."""
    assert (INSTALLED / PLUGIN).is_file()
    assert Path(COMMAND[0]).is_file()


@pytest.mark.cluster
@pytest.mark.skipif(not ASSETS, reason="KUBEBUILDER_ASSETS names no folder with kubectl")
def test_kubectl_runs_the_plugin() -> None:
    """Usage, examples and errors name the command as it was typed; exit codes are passed through."""
    shown = kubectl("explain", "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("Usage: kubectl swr-trust explain ")
    assert "\n  kubectl swr-trust explain -n shop web\n" in shown.stdout
    wrong = kubectl("explainn", "shop/web")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == (
        "kubectl swr-trust: there is no command explainn. Did you mean explain?\n"
        "Run 'kubectl swr-trust --help' for options and examples.\n"
    )
    assert kubectl("version").stdout == f"swr-trust {__version__}\n"


def complete(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str) -> list[str]:
    """Return bash's completions of the last word of a line; an empty word follows a final space."""
    words = line.split(" ")
    monkeypatch.setenv("_SWR_TRUST_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    assert main([]) == 0
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("swr-trust e", ["plain,explain", "plain,evidence"]),
        ("swr-trust config ", ["plain,check", "plain,schema"]),
        ("swr-trust help re", ["plain,review", "plain,rescan"]),
        ("swr-trust review --fail-on ", ["plain,refused", "plain,enforced", "plain,never"]),
        ("swr-trust review --allow", ["plain,--allow-empty", "plain,--allow-unjudged"]),
        ("swr-trust review --config pol", ["file,pol"]),
        ("swr-trust review --config f deploy", ["file,deploy"]),
        ("swr-trust completion ", ["plain,bash", "plain,zsh", "plain,fish"]),
    ],
)
def test_words_that_complete_a_line(
    line: str, offered: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Commands, options, choices and files."""
    assert complete(monkeypatch, capsys, line) == offered


def test_contexts_complete_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From --kubeconfig, otherwise from the files of KUBECONFIG; an unreadable file is skipped."""
    path = kubeconfig(tmp_path)
    assert complete(monkeypatch, capsys, f"swr-trust explain --kubeconfig {path} --context ") == ["plain,c"]
    broken = tmp_path / "broken"
    broken.write_text("contexts: [", encoding="utf-8")
    monkeypatch.setenv("KUBECONFIG", f"{broken}{os.pathsep}/none{os.pathsep}{path}")
    assert complete(monkeypatch, capsys, "swr-trust audit --context ") == ["plain,c"]
    assert complete(monkeypatch, capsys, "swr-trust audit --context d") == []


@pytest.mark.slow
def test_bash_completes_with_the_printed_script() -> None:
    """In a real bash, which calls the program for each word."""
    script = (
        'eval "$(swr-trust completion bash)"\n'
        "complete -p swr-trust\n"
        "COMP_WORDS=(swr-trust au) COMP_CWORD=1\n"
        "_swr_trust_completion swr-trust au swr-trust\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    environment = {**os.environ, "PATH": f"{INSTALLED}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, timeout=60, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "audit"


@pytest.mark.parametrize(
    ("shell", "line"),
    [("zsh", "#compdef swr-trust"), ("fish", "complete --no-files --command swr-trust ")],
)
def test_scripts_of_other_shells(shell: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They name the program and the variable by which they call it."""
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert line in script
    assert f"_SWR_TRUST_COMPLETE={shell}_complete" in script
