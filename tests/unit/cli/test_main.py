"""``swr-trust``: its output, and the exit codes on which scripts rely."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.support.serving import COMMAND
from tests.support.signing_keys import write_keys
from webhook import __version__
from webhook.cli.main import COMMANDS as COMMANDS_BY_MODULE
from webhook.cli.main import main, swr_trust

EXAMPLE = Path(__file__).parents[2] / "data" / "policy.yaml"
GOOD = """\
apiVersion: swr-trust/v1
kind: TrustPolicy
registries: [{region: cn-north-4}]
credentials: {kind: token, tokenFile: /etc/swr/token}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """Return a valid policy file."""
    path = tmp_path / "policy.yaml"
    path.write_text(GOOD, encoding="utf-8")
    return path


def test_config_check_of_valid_policy_exits_with_code_0(
    policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The output is one line."""
    assert main(["config", "check", str(policy)]) == 0
    assert capsys.readouterr().out == f"{policy}: valid\n"


def test_config_check_with_warnings_exits_with_code_0(
    policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Warnings are printed, and the file can be used."""
    policy.write_text(GOOD + "onLookupFailure: allow\n", encoding="utf-8")
    assert main(["config", "check", str(policy)]) == 0
    assert capsys.readouterr().out == (
        "warning: onLookupFailure: allow admits every image while SWR is down: "
        "an outage disables the policy\n"
        f"{policy}: valid, 1 warning(s)\n"
    )


def test_config_check_lists_every_problem(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, one line per problem, each with its path."""
    policy.write_text(GOOD + "mode: block\nlookup: {retries: 9}\n", encoding="utf-8")
    assert main(["config", "check", str(policy)]) == 2
    assert capsys.readouterr().out == (
        "error: mode: write enforce, warn or audit\n"
        "error: lookup.retries: write a number of at most 3\n"
        f"{policy}: 2 error(s); it cannot be used\n"
    )


def test_config_check_prints_problems_as_json(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same for programs."""
    policy.write_text(GOOD + "mode: block\n", encoding="utf-8")
    assert main(["config", "check", "-o", "json", str(policy)]) == 2
    assert json.loads(capsys.readouterr().out) == {
        "file": str(policy),
        "valid": False,
        "errors": [{"path": "mode", "message": "write enforce, warn or audit"}],
        "warnings": [],
    }


SIGNED = """\
apiVersion: swr-trust/v1
kind: TrustPolicy
registries:
  - edition: enterprise
    hosts: [images.example.com]
    evidence: signature
    signatures: {{keys: [{{name: old, file: {folder}/old.pub, notAfter: 2026-03-31}}, {{name: new, file: {folder}/new.pub}}]}}
"""


def test_config_check_reports_lapsed_key_as_error(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, although the policy can be used: the key does not count."""
    write_keys(policy.parent, "new")
    policy.write_text(SIGNED.format(folder=policy.parent), encoding="utf-8")
    assert main(["config", "check", str(policy)]) == 2
    assert capsys.readouterr().out == (
        "error: registries[0].signatures.keys[0].notAfter: key 'old' lapsed on 2026-03-31: "
        "remove it, or set a later notAfter\n"
        f"{policy}: 1 error(s)\n"
    )


@pytest.mark.parametrize(("options", "code"), [([], 2), (["--no-key-files"], 0)])
def test_config_check_reads_key_files_by_default(
    policy: Path, options: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a pipeline, only the policy file may be at hand."""
    text = SIGNED.format(folder="/nowhere").replace(", notAfter: 2026-03-31", "")
    policy.write_text(text, encoding="utf-8")
    assert main(["config", "check", *options, str(policy)]) == code
    missing = "cannot be read (No such file or directory): mount the file, or correct the path"
    problems = [f"error: registries[0].signatures.keys[{index}].file: {missing}\n" for index in (0, 1)]
    end = f"{policy}: 2 error(s); it cannot be used\n" if code else f"{policy}: valid\n"
    assert capsys.readouterr().out == "".join(problems if code else []) + end


def test_missing_policy_file_exits_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    """The path and the cause, without a traceback."""
    assert main(["config", "check", "/nowhere.yaml"]) == 2
    assert capsys.readouterr().out == (
        "error: /nowhere.yaml cannot be read: No such file or directory\n"
        "/nowhere.yaml: 1 error(s); it cannot be used\n"
    )


def test_config_schema_prints_json_schema_of_policy(capsys: pytest.CaptureFixture[str]) -> None:
    """For editors: every top-level key of the file."""
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
def test_command_with_invalid_policy_lists_problems(
    policy: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and the problems on standard error, for every command."""
    policy.write_text("mode: block\n", encoding="utf-8")
    if arguments[0] == "serve":
        # A process of its own, because it patches the standard library.
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


def test_command_with_missing_credential_exits_with_code_2(
    policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any call: an operator's mistake must neither deny nor admit an image."""
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
    ("arguments", "path", "message"),
    [
        (["check", "nginx"], "check", "--config is missing"),
        (["check", "--config", "f"], "check", "IMAGE... is missing"),
        (
            ["config", "check", "-o", "xml", "f"],
            "config check",
            "--output: 'xml' is not one of 'table', 'json'",
        ),
        (["chekc"], "", "there is no command chekc. Did you mean check?"),
        (["help", "config", "scheme"], "config", "there is no command scheme. Did you mean schema?"),
        (["review", "--conf", "f"], "review", "there is no option --conf. Did you mean --config?"),
        (["--versoin"], "", "there is no option --versoin. Did you mean --version?"),
        (["audit", "-x"], "audit", "there is no option -x"),
        (["config", "check", "a", "b"], "config check", "got unexpected extra argument (b)"),
        (["audit", "--config"], "audit", "option '--config' requires an argument"),
        (["completion", "tcsh"], "completion", "SHELL: 'tcsh' is not one of 'bash', 'zsh', 'fish'"),
        (
            ["serve", "--config", "f", "--port", "65536"],
            "serve",
            "--port: '65536' is not a port: write a number from 1 to 65535",
        ),
        (
            ["serve", "--config", "f", "--port", "-1"],
            "serve",
            "--port: '-1' is not a port: write a number from 1 to 65535",
        ),
        (
            ["rescan", "--config", "f", "--port", "https"],
            "rescan",
            "--port: 'https' is not a port: write a number from 1 to 65535",
        ),
        (
            ["rescan", "--config", "f", "--interval", "soon"],
            "rescan",
            "--interval: 'soon' is not a duration: write a duration with its unit, such as 30s, 10m, 12h or 1h30m",
        ),
        (
            ["rescan", "--config", "f", "--interval", "9s"],
            "rescan",
            "--interval: 9s is too short: write 10s or longer",
        ),
        (
            ["evidence", "--until", "yesterday", "log"],
            "evidence",
            "--until: 'yesterday' is not a time: write a date or an RFC 3339 time, such as 2026-11-01",
        ),
        (
            ["explain", "-n", "shop", "shop/web"],
            "explain",
            "'shop/web' is not a workload: write NAME or KIND/NAME, with a kind of Deployment, StatefulSet, DaemonSet, "
            "CronJob, Job, ReplicaSet, ReplicationController, Pod",
        ),
    ],
)
def test_wrong_argument_is_named(
    arguments: list[str], path: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2: the mistake, a suggestion, and where to read on. No traceback."""
    assert main(arguments) == 2
    command = f"swr-trust {path}".strip()
    assert capsys.readouterr().err == (
        f"{command}: {message}\nRun '{command} --help' for options and examples.\n"
    )


@pytest.mark.parametrize("arguments", [[], ["config"]])
def test_without_a_command_the_help_is_an_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and the help on standard error, so that no script reads it as output."""
    assert main([*arguments, "--help"]) == 0
    text = capsys.readouterr().out
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", text)


SOURCES = "--tls-cert and --tls-key, or --cert-secret, --service and the webhook configurations"
CERTIFICATE = "--tls-cert and --tls-key, or --cert-secret, --service and --webhook-configuration"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], f"a serving certificate is needed: add {CERTIFICATE}"),
        (["--tls-cert", "/c"], f"a serving certificate is needed: add {CERTIFICATE}"),
        (
            ["--tls-cert", "/c", "--tls-key", "/k", "--service", "s"],
            f"the certificate comes from files or from the cluster: remove {SOURCES}",
        ),
        (
            ["--tls-cert", "/c", "--tls-key", "/k", "--mutating-webhook-configuration", "w"],
            f"the certificate comes from files or from the cluster: remove {SOURCES}",
        ),
        (
            ["--mutating-webhook-configuration", "w"],
            f"a serving certificate is needed: add {CERTIFICATE}",
        ),
        (
            ["--cert-secret", "a/tls", "--service", "s", "--mutating-webhook-configuration", "w"],
            f"a serving certificate is needed: add {CERTIFICATE}",
        ),
        (
            ["--cert-secret", "tls", "--service", "s", "--webhook-configuration", "w"],
            "--cert-secret: 'tls' has no namespace, or is not a name: write NAMESPACE/NAME",
        ),
        (
            ["--tls-cert", "/c", "--tls-key", "/k", "--snapshot-secret", "snapshot"],
            "--snapshot-secret: 'snapshot' has no namespace, or is not a name: write NAMESPACE/NAME",
        ),
    ],
    ids=[
        "none",
        "half",
        "both",
        "both for pinning",
        "pinning alone",
        "pinning without the validating one",
        "no namespace",
        "no namespace of the snapshot",
    ],
)
def test_serve_rejects_inconsistent_certificate_and_secret_options(
    policy: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A certificate comes either from files or from the cluster, and completely; a Secret has its
    namespace.
    """
    assert main(["serve", "--config", str(policy), *arguments]) == 2
    assert capsys.readouterr().err == (
        f"swr-trust serve: {message}\nRun 'swr-trust serve --help' for options and examples.\n"
    )


@pytest.mark.parametrize("argument", ["--version", "version"])
def test_version_is_printed(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same line, as an option and as a command."""
    assert main([argument]) == 0
    assert capsys.readouterr().out == f"swr-trust {__version__}\n"


@pytest.mark.parametrize("output", ["-ojson", "-o=json", "--output=json"])
def test_option_and_value_in_one_word(policy: Path, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As in kubectl. An argument after ``--`` is left as it is."""
    assert main(["config", "check", output, str(policy)]) == 0
    assert json.loads(capsys.readouterr().out)["valid"] is True
    assert main(["config", "check", output, "--", "-o=json"]) == 2
    assert json.loads(capsys.readouterr().out)["file"] == "-o=json"


COMMANDS = [*swr_trust.commands, "config check", "config schema"]


@pytest.mark.parametrize("way", ["--help", "-h", "help"])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_and_fits_a_terminal(
    command: str, way: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 80 columns, by all three ways to request it."""
    monkeypatch.setenv("COLUMNS", "80")
    words = command.split()
    assert main(["help", *words] if way == "help" else [*words, way]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: swr-trust {command} ")
    assert max(map(len, text.splitlines())) <= 80
    if command != "config":
        assert f"swr-trust {command}" in text.split("Examples:\n")[1]


@pytest.mark.parametrize("name", COMMANDS_BY_MODULE)
def test_summary_is_the_first_line_of_the_help(name: str) -> None:
    """The list of commands imports none of them, but agrees with them."""
    command = import_module(f"webhook.cli.{name}").command
    assert command.help.splitlines()[0] == COMMANDS_BY_MODULE[name]


@pytest.mark.slow
@pytest.mark.parametrize(
    "action", [["schema"], ["check", "--no-key-files", str(EXAMPLE)]], ids=["much", "little"]
)
def test_closed_pipe_does_not_cause_traceback(action: list[str]) -> None:
    """``swr-trust config schema | head -1`` ends without output."""
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
def test_unencodable_output_is_escaped(
    policy: Path, environment: dict[str, str], lines: str, image: str, output: str, shown: str
) -> None:
    """Chinese in an ASCII locale, bytes that are not text: no traceback, the usual exit code."""
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
def test_full_disk_does_not_cause_traceback(policy: Path) -> None:
    """Exit code 2 and the cause."""
    command = [*COMMAND, "config", "check", str(policy)]
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (2, "swr-trust: No space left on device\n")


@pytest.mark.slow
def test_closed_standard_output_does_not_cause_traceback(policy: Path) -> None:
    """``>&-``: only the exit code is needed."""
    command = f"exec {COMMAND[0]} check --config {policy} nginx >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("arguments", [["--help"], ["version"], ["chekc"], ["completion", "bash"]])
def test_light_commands_load_nothing_heavy(arguments: list[str]) -> None:
    """They start quickly because the module of a command is imported only when it is used."""
    script = (
        f"import sys\nfrom webhook.__main__ import main\nsys.argv[1:] = {arguments}\nmain()\n"
        "print(sorted({m.partition('.')[0] for m in sys.modules} & {'flask', 'kubernetes', "
        "'pydantic', 'rich', 'urllib3', 'yaml', 'jinja2', 'msgspec'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


def test_interrupt_ends_without_a_traceback(
    policy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 130, the convention of shells."""

    def interrupt(path: str, **options: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("webhook.cli.config.load_policy", interrupt)
    assert main(["config", "check", str(policy)]) == 130
    assert capsys.readouterr().err == ""
