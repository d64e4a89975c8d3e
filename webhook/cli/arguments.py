"""The command line as a parser; each command names a function that is imported when it is run."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from typing import Final

from webhook import __version__

Command = Callable[[argparse.Namespace], int]

MAX_PORT: Final = 65535

_EPILOG: Final = """\
exit codes: 0 all is well, 1 something is refused, 2 wrong arguments or configuration,
3 something could not be found out

examples:
  swr-trust config check policy.yaml
  swr-trust check --config policy.yaml swr.cn-north-4.myhuaweicloud.com/shop/web:1.0
  helm template my-release ./chart | swr-trust review --config policy.yaml -
  swr-trust audit --config policy.yaml -o html > audit.html
  swr-trust rescan --config policy.yaml --interval 1h --reports --events
  swr-trust explain shop/web
  swr-trust doctor --config policy.yaml
  swr-trust serve --config policy.yaml --tls-cert tls.crt --tls-key tls.key
"""


def _command(module: str) -> Command:
    """Return a function that imports ``webhook.cli.<module>`` when called, and runs it."""

    def run(options: argparse.Namespace) -> int:
        chosen: Command = import_module(f"webhook.cli.{module}").run
        return chosen(options)

    return run


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="swr-trust",
        description="Image trust for Huawei Cloud CCE: a Pod runs only what SWR marks as trusted.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"swr-trust {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_serve(commands)
    _add_check(commands)
    _add_review(commands)
    _add_audit(commands)
    _add_rescan(commands)
    _add_evidence(commands)
    _add_explain(commands)
    _add_doctor(commands)
    _add_config(commands)
    return parser


_Commands = argparse._SubParsersAction  # noqa: SLF001 - argparse names no public type for it


def _add(
    commands: _Commands[argparse.ArgumentParser], name: str, text: str, example: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"example:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_config_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, metavar="FILE", help="the policy file")


def _add_output(parser: argparse.ArgumentParser, *formats: str) -> None:
    parser.add_argument(
        "-o", "--output", choices=formats, default=formats[0], help="output format (default: %(default)s)"
    )


def _port(text: str) -> int:
    port = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= port <= MAX_PORT:
        raise argparse.ArgumentTypeError(f"write a port from 1 to {MAX_PORT}")
    return port


def _add_log_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--log-format", choices=("json", "text"), help="(default: text on a terminal)")
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="(default: %(default)s)",
    )


def _add_serve(commands: _Commands[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "serve",
        "run the admission webhook",
        "  swr-trust serve --config policy.yaml --tls-cert tls.crt --tls-key tls.key",
    )
    _add_config_option(parser)
    parser.add_argument("--host", default="", metavar="ADDRESS", help="address to listen on (default: all)")
    parser.add_argument("--port", type=_port, default=8443, metavar="PORT", help="(default: %(default)s)")
    files = parser.add_argument_group("a certificate from files, read again when they change")
    files.add_argument("--tls-cert", metavar="FILE", help="certificate chain, PEM")
    files.add_argument("--tls-key", metavar="FILE", help="private key, PEM")
    managed = parser.add_argument_group("or one that the webhook keeps for itself in the cluster")
    managed.add_argument(
        "--cert-secret", metavar="NAMESPACE/NAME", help="Secret that all replicas share; made if missing"
    )
    managed.add_argument(
        "--service", metavar="NAME", help="Service in that namespace, which the certificate is for"
    )
    managed.add_argument(
        "--webhook-configuration",
        metavar="NAME",
        help="ValidatingWebhookConfiguration whose caBundle is kept",
    )
    parser.add_argument(
        "--client-ca",
        metavar="FILE",
        help="CA of the API server's client certificate; /validate then demands one",
    )
    parser.add_argument(
        "--events",
        action="store_true",
        help="write a Kubernetes Event on what is refused, or would be; needs to create and patch Events",
    )
    parser.add_argument(
        "--snapshot-secret",
        metavar="NAMESPACE/NAME",
        help="Secret in which replicas keep what was trusted, so that it outlives them; must exist",
    )
    parser.add_argument(
        "--warm-up",
        action="store_true",
        help="ask SWR once, in the background, about the images that run; needs to list Pods",
    )
    _add_log_options(parser)
    parser.set_defaults(run=_command("serve"))


def _add_check(commands: _Commands[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "check",
        "ask SWR about images",
        "  swr-trust check --config policy.yaml swr.cn-north-4.myhuaweicloud.com/shop/web:1.0",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    _add_config_option(parser)
    parser.add_argument(
        "--namespace",
        default="default",
        help="namespace whose rules and exemptions apply (default: %(default)s)",
    )
    _add_output(parser, "table", "json")
    parser.set_defaults(run=_command("check"))


def _add_review(commands: _Commands[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "review",
        "judge manifests as the webhook would",
        "  helm template my-release ./chart | swr-trust review --config policy.yaml -\n"
        "  swr-trust review --config policy.yaml -o sarif deploy/ > findings.sarif",
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="YAML or JSON file, folder, or - for standard input"
    )
    _add_config_option(parser)
    parser.add_argument(
        "--namespace", default="default", help="namespace of objects that name none (default: %(default)s)"
    )
    parser.add_argument(
        "--fail-on",
        choices=("refused", "enforced", "never"),
        default="refused",
        help="what makes the exit code 1: refused is whatever mode enforce would refuse, enforced only what "
        "the policy's modes refuse today (default: %(default)s)",
    )
    parser.add_argument(
        "--allow-empty",
        action="store_true",
        help="succeed where there is no object at all (default: exit code 2)",
    )
    parser.add_argument(
        "--allow-unjudged",
        action="store_true",
        help="succeed in spite of custom resources that make Pods and are not judged (default: exit code 3)",
    )
    _add_output(parser, "table", "json", "sarif", "junit")
    parser.set_defaults(run=_command("review"))


def _add_cluster_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kubeconfig", metavar="FILE", help="(default: the Pod's ServiceAccount, else as kubectl does)"
    )
    parser.add_argument("--context", metavar="NAME", help="context of the kubeconfig")


def _add_audit(commands: _Commands[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "audit",
        "judge the Pods that run now: what would enforcing refuse?",
        "  swr-trust audit --config policy.yaml\n  swr-trust audit --config policy.yaml -o html > audit.html",
    )
    _add_config_option(parser)
    parser.add_argument(
        "-n",
        "--namespace",
        action="append",
        default=[],
        metavar="NAMESPACE",
        help="a namespace to look at, again for more (default: all)",
    )
    parser.add_argument("-l", "--selector", default="", help="label selector, such as app=web")
    parser.add_argument(
        "--exclude-namespace",
        action="append",
        metavar="GLOB",
        help="namespaces to leave out, again for more (default: those that the webhook is not asked about); "
        "not those that -n names",
    )
    parser.add_argument(
        "--webhook-configuration",
        metavar="NAME",
        help="ValidatingWebhookConfiguration that says which these are (default: those that are labelled "
        "app.kubernetes.io/name=swr-trust-webhook)",
    )
    _add_cluster_options(parser)
    _add_output(parser, "table", "json", "csv", "html")
    parser.set_defaults(run=_command("audit"))


def _add_rescan(commands: _Commands[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "rescan",
        "audit the cluster again and again: metrics, policy reports, Events",
        "  swr-trust rescan --config policy.yaml --interval 1h --reports --events",
    )
    _add_config_option(parser)
    parser.add_argument(
        "--interval", default="1h", metavar="DURATION", help="between two rounds (default: %(default)s)"
    )
    parser.add_argument(
        "--exclude-namespace",
        action="append",
        metavar="GLOB",
        help="namespaces to leave out, again for more (default: kube-system, kube-public, kube-node-lease)",
    )
    parser.add_argument(
        "--reports",
        action="store_true",
        help="keep policy reports, in openreports.io or wgpolicyk8s.io, whichever the cluster serves",
    )
    parser.add_argument(
        "--report-owner", default="", metavar="CLUSTERROLE", help="Kubernetes deletes the reports with it"
    )
    parser.add_argument(
        "--events",
        action="store_true",
        help="write a Kubernetes Event on a running image that would be refused and was not before",
    )
    parser.add_argument("--host", default="", metavar="ADDRESS", help="address to listen on (default: all)")
    parser.add_argument(
        "--port",
        type=_port,
        default=8080,
        metavar="PORT",
        help="for /metrics, /healthz and /readyz, plain HTTP (default: %(default)s)",
    )
    _add_cluster_options(parser)
    _add_log_options(parser)
    parser.set_defaults(run=_command("rescan"))


def _add_evidence(commands: _Commands[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "evidence",
        "report what was refused, exempted and let through by break-glass, from the decision log",
        "  swr-trust evidence --since 2026-11-01 --until 2026-12-01 -o html webhook.log > evidence.html\n"
        "  kubectl logs -n swr-trust -l app.kubernetes.io/name=swr-trust-webhook --tail=-1 | "
        "swr-trust evidence -",
    )
    parser.add_argument(
        "files",
        nargs="+",
        metavar="LOGFILE",
        help="the webhook's JSON log, also as Docker, containerd, Fluent Bit or LTS wrap it, packed by gzip "
        "or not; - for standard input",
    )
    parser.add_argument("--since", metavar="TIME", help="date or RFC 3339 time, in UTC unless it says more")
    parser.add_argument("--until", metavar="TIME", help="the same; not counted in itself")
    parser.add_argument(
        "--language",
        choices=("en", "zh"),
        default="en",
        help="language of the HTML page (default: %(default)s)",
    )
    _add_output(parser, "table", "json", "csv", "html")
    parser.set_defaults(run=_command("evidence"))


def _add_explain(commands: _Commands[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "explain",
        "say why a workload is refused and what to do, from what the cluster says of it",
        "  swr-trust explain shop/web\n  swr-trust explain shop/CronJob/report",
    )
    parser.add_argument("workload", metavar="NAMESPACE/[KIND/]NAME")
    _add_cluster_options(parser)
    _add_output(parser, "table", "json")
    parser.set_defaults(run=_command("explain"))


def _add_doctor(commands: _Commands[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "doctor",
        "check configuration, SWR and the cluster, and say what to do about each failure",
        "  swr-trust doctor --config policy.yaml --image swr.cn-north-4.myhuaweicloud.com/shop/web:1.0",
    )
    _add_config_option(parser)
    parser.add_argument(
        "--image",
        action="append",
        default=[],
        metavar="IMAGE",
        help="an image that exists, to ask SWR about; again for each registry",
    )
    parser.add_argument(
        "--webhook-configuration",
        metavar="NAME",
        help="(default: those that are labelled app.kubernetes.io/name=swr-trust-webhook)",
    )
    parser.add_argument(
        "--probe-namespace",
        default="default",
        metavar="NAMESPACE",
        help="where a Pod is created as a dry run, to see it refused (default: %(default)s)",
    )
    parser.add_argument("--no-cluster", action="store_true", help="leave the cluster out")
    _add_cluster_options(parser)
    _add_output(parser, "table", "json")
    parser.set_defaults(run=_command("doctor"))


def _add_config(commands: _Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("config", help="check a policy file, or print its JSON Schema")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    check = _add(actions, "check", "check a policy file", "  swr-trust config check policy.yaml")
    check.add_argument("config", metavar="FILE")
    _add_output(check, "table", "json")
    check.set_defaults(run=_command("config_check"))
    schema = _add(
        actions,
        "schema",
        "print the JSON Schema of the policy file",
        "  swr-trust config schema > schema.json",
    )
    schema.set_defaults(run=_command("config_schema"))
