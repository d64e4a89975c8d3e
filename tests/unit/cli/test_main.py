"""``swr-trust``: what it prints, and the exit codes that scripts rely on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.serving import COMMAND
from webhook import __version__
from webhook.cli.main import main

EXAMPLE = Path(__file__).parents[2] / "data" / "policy.yaml"
GOOD = """\
apiVersion: swr-trust/v1
kind: TrustPolicy
registries: [{region: cn-north-4}]
credentials: {kind: token, tokenFile: /etc/swr/token}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A good policy file."""
    path = tmp_path / "policy.yaml"
    path.write_text(GOOD, encoding="utf-8")
    return path


def test_a_good_policy_is_valid(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0 and one line."""
    assert main(["config", "check", str(policy)]) == 0
    assert capsys.readouterr().out == f"{policy}: valid\n"


def test_warnings_do_not_fail_a_policy(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is doubtful is said, and the file can be used."""
    policy.write_text(GOOD + "onLookupFailure: allow\n", encoding="utf-8")
    assert main(["config", "check", str(policy)]) == 0
    assert capsys.readouterr().out == (
        "warning: onLookupFailure: allow admits whatever is asked for while SWR is down: "
        "an outage opens the gate\n"
        f"{policy}: valid, 1 warning(s)\n"
    )


def test_every_problem_is_listed(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, one line a problem, each with its path."""
    policy.write_text(GOOD + "mode: block\nlookup: {retries: 9}\n", encoding="utf-8")
    assert main(["config", "check", str(policy)]) == 2
    assert capsys.readouterr().out == (
        "error: mode: write enforce, warn or audit\n"
        "error: lookup.retries: write a number of at most 3\n"
        f"{policy}: 2 error(s); it cannot be used\n"
    )


def test_problems_as_json(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same for machines."""
    policy.write_text(GOOD + "mode: block\n", encoding="utf-8")
    assert main(["config", "check", "-o", "json", str(policy)]) == 2
    assert json.loads(capsys.readouterr().out) == {
        "file": str(policy),
        "valid": False,
        "errors": [{"path": "mode", "message": "write enforce, warn or audit"}],
        "warnings": [],
    }


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """The path and the cause, no traceback."""
    assert main(["config", "check", "/nowhere.yaml"]) == 2
    assert capsys.readouterr().out == (
        "error: /nowhere.yaml cannot be read: No such file or directory\n"
        "/nowhere.yaml: 1 error(s); it cannot be used\n"
    )


def test_the_schema_is_json_and_describes_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    """For editors: every key at the top level of the file."""
    assert main(["config", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert {"apiVersion", "registries", "credentials", "rules", "exemptions"} <= set(schema["properties"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "nginx"],
        ["review", "-"],
        ["serve", "--tls-cert", "/c", "--tls-key", "/k"],
    ],
    ids=["check", "review", "serve"],
)
def test_a_command_with_a_broken_policy_lists_its_problems(
    policy: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and the problems on standard error, whatever the command."""
    policy.write_text("mode: block\n", encoding="utf-8")
    if arguments[0] == "serve":
        # A process of its own: it patches the standard library.
        command = [*COMMAND, *arguments, "--config", str(policy)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        code, error = done.returncode, done.stderr
    else:
        code = main([*arguments, "--config", str(policy)])
        error = capsys.readouterr().err
    assert code == 2
    assert error == (
        f"swr-trust: the configuration {policy} cannot be used:\n"
        "  apiVersion: is missing: write apiVersion: swr-trust/v1\n"
        "  kind: is missing: write kind: TrustPolicy\n"
        "  registries: is missing: write at least one registry, such as region: cn-north-4\n"
        "  mode: write enforce, warn or audit\n"
    )


def test_a_command_without_the_credential_that_the_policy_names_says_so(
    policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is asked: no image is refused, or let pass, for a mistake of its operator."""
    policy.write_text(
        "apiVersion: swr-trust/v1\nkind: TrustPolicy\nregistries: [{region: cn-north-4}]\n"
        "credentials: {kind: aksk}\n",
        encoding="utf-8",
    )
    assert main(["check", "swr.cn-north-4.myhuaweicloud.com/a/b:1", "--config", str(policy)]) == 2
    assert capsys.readouterr().err == (
        f"swr-trust: the configuration {policy} cannot be used:\n"
        "  credentials: the environment variable HUAWEICLOUD_SDK_AK is not set\n"
    )


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["check", "nginx"], "the following arguments are required: --config"),
        (["config", "check", "-o", "xml", "f"], "invalid choice: 'xml'"),
        (["chekc"], "invalid choice: 'chekc'"),
        (["serve", "--config", "f", "--port", "65536"], "argument --port: write a port from 1 to 65535"),
        (["serve", "--config", "f", "--port", "-1"], "argument --port: write a port from 1 to 65535"),
        (["serve", "--config", "f", "--port", "https"], "argument --port: write a port from 1 to 65535"),
    ],
    ids=[
        "nothing",
        "no policy",
        "no such format",
        "no such command",
        "a port too high",
        "a port too low",
        "no port",
    ],
)
def test_wrong_arguments(arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and what is wrong."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert word in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [],
            "it serves TLS only: give --tls-cert and --tls-key, "
            "or --cert-secret, --service and --webhook-configuration",
        ),
        (
            ["--tls-cert", "/c"],
            "it serves TLS only: give --tls-cert and --tls-key, "
            "or --cert-secret, --service and --webhook-configuration",
        ),
        (
            ["--tls-cert", "/c", "--tls-key", "/k", "--service", "s"],
            "a certificate comes from files or from the cluster: remove one kind of options",
        ),
        (
            ["--cert-secret", "tls", "--service", "s", "--webhook-configuration", "w"],
            "write --cert-secret as NAMESPACE/NAME",
        ),
        (
            ["--tls-cert", "/c", "--tls-key", "/k", "--snapshot-secret", "snapshot"],
            "write --snapshot-secret as NAMESPACE/NAME",
        ),
    ],
    ids=["none", "half", "both", "no namespace", "no namespace of the snapshot"],
)
def test_where_certificate_and_snapshot_are_kept(
    policy: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A certificate comes from files or the cluster, one of them whole; a Secret has its namespace."""
    assert main(["serve", "--config", str(policy), *arguments]) == 2
    assert capsys.readouterr().err == f"swr-trust serve: {message}\n"


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """What to write into a report."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"swr-trust {__version__}\n"


COMMANDS = [
    ["serve"],
    ["check"],
    ["review"],
    ["audit"],
    ["evidence"],
    ["explain"],
    ["doctor"],
    ["config", "check"],
    ["config", "schema"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=[" ".join(command) for command in COMMANDS])
def test_each_command_shows_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """``--help`` ends with a line that can be typed."""
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    assert f"  swr-trust {' '.join(command)}" in capsys.readouterr().out.split("example:")[1]


@pytest.mark.slow
@pytest.mark.parametrize("action", [["schema"], ["check", str(EXAMPLE)]], ids=["much", "little"])
def test_a_reader_that_goes_away_is_no_traceback(action: list[str]) -> None:
    """``swr-trust config schema | head -1`` ends quietly."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [*COMMAND, "config", *action]
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=buffered, text=True, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (2, "")


STRANGE = [
    ({"PYTHONIOENCODING": "ascii"}, "messages: zh\n", "nginx", "table", "\\u955c\\u50cf"),
    ({}, "", os.fsdecode(b"a\xff"), "table", "a\\udcff  invalid"),
    ({}, "", os.fsdecode(b"a\xff"), "json", '"image": "a\\udcff"'),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "lines", "image", "output", "shown"), STRANGE, ids=["locale", "table", "json"]
)
def test_what_cannot_be_written_is_escaped(
    policy: Path, environment: dict[str, str], lines: str, image: str, output: str, shown: str
) -> None:
    """Chinese in an ASCII locale, bytes that are no text: no traceback, the usual exit code."""
    policy.write_text(GOOD + lines, encoding="utf-8")
    command = [
        *COMMAND,
        "check",
        "--config",
        str(policy),
        "-o",
        output,
        image,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=60
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert shown in done.stdout


@pytest.mark.slow
def test_a_full_disk_is_no_traceback(policy: Path) -> None:
    """Exit code 2 and the cause."""
    command = [*COMMAND, "config", "check", str(policy)]
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (2, "swr-trust: No space left on device\n")


@pytest.mark.slow
def test_a_closed_output_is_no_traceback(policy: Path) -> None:
    """``>&-``: the exit code is all that is wanted."""
    command = f"exec {COMMAND[0]} check --config {policy} nginx >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "")


def test_help_loads_nothing_heavy() -> None:
    """The command line answers at once: what a command needs is imported when it runs."""
    script = (
        "import sys\nfrom webhook.cli.arguments import build_parser\nbuild_parser()\n"
        "print(sorted({m.partition('.')[0] for m in sys.modules} "
        "& {'flask', 'gevent', 'kubernetes', 'pydantic', 'rich', 'urllib3', 'yaml', 'jinja2'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n"
