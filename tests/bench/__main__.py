"""Run all benchmarks, or the named parts, and print a table of each."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench.applying import measure_applying
from tests.bench.bounds import measure_bounds
from tests.bench.creation import measure_creation
from tests.bench.growth import measure_connections, measure_growth
from tests.bench.load import describe_client
from tests.bench.lookups import measure_cold, measure_crowd, measure_memory
from tests.bench.report import (
    Figure,
    describe_machine,
    print_figures,
    render_markdown,
    write_into_docs,
    write_markdown,
)
from tests.bench.signed import measure_signed
from tests.bench.throughput import measure_policy, measure_warm
from tests.emulator.server import Emulator
from tests.support.serving import Certificate, make_certificate

Part = Callable[[Path, Certificate, Emulator], list[Figure]]
ClusterPart = Callable[[Path, Certificate, Emulator, Path], list[Figure]]

PARTS: dict[str, tuple[str, Part]] = {
    "warm": ("Cached reviews over TLS", measure_warm),
    "policy": ("Long policy, 16 connections", measure_policy),
    "cold": ("Uncached images", measure_cold),
    "crowd": ("Concurrent reviews of one image", measure_crowd),
    "signed": ("Images that are trusted by signatures", measure_signed),
    "memory": ("Startup and memory", measure_memory),
    "growth": ("Scaling, in CPU time of the webhook", measure_growth),
    "bounds": ("A cached review during maximum loads", measure_bounds),
    "connections": ("Connections, in CPU time of the server", measure_connections),
}

CLUSTER_PARTS: dict[str, tuple[str, ClusterPart]] = {
    "creation": ("Pod creation through a real API server, median", measure_creation),
    "apply": ("200 Deployments with parallel kubectl apply, each with an uncached image", measure_applying),
}


def main() -> int:
    """Return 0 if every figure is within its limit, otherwise 1."""
    parser = argparse.ArgumentParser(description="Measures the webhook against baselines of the same run.")
    names = [*PARTS, *CLUSTER_PARTS]
    parser.add_argument("parts", nargs="*", choices=[*names, []], help="which parts (default: all)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables as Markdown, too")
    parser.add_argument(
        "--docs", action="store_true", help="put them into docs/performance.md and its translation"
    )
    options = parser.parse_args()
    machine = describe_machine(f"{os.getloadavg()[0]:.1f}", describe_client())
    print(f"{machine}\n", flush=True)
    tables: dict[str, list[Figure]] = {}
    for name in options.parts or names:
        title = {**PARTS, **CLUSTER_PARTS}[name][0]
        figures = _measure(name)
        if figures is None:
            print(f"{title}: skipped, because KUBEBUILDER_ASSETS is not set to a folder\n")
            continue
        print_figures(title, figures)
        tables[title] = figures
    markdown = render_markdown(tables, machine)
    if options.markdown is not None:
        write_markdown(markdown, options.markdown)
    if options.docs:
        write_into_docs(markdown)
    missed = [
        figure.what.strip() for figures in tables.values() for figure in figures if figure.good is False
    ]
    print("all targets met" if not missed else f"targets missed: {'; '.join(missed)}")
    return 1 if missed else 0


def _measure(name: str) -> list[Figure] | None:
    """Return the figures of one part, ``None`` if it has to be left out."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    with tempfile.TemporaryDirectory() as path, Emulator() as emulator:
        folder = Path(path)
        certificate = make_certificate(folder)
        if name in PARTS:
            return PARTS[name][1](folder, certificate, emulator)
        if not assets:
            return None
        return CLUSTER_PARTS[name][1](folder, certificate, emulator, Path(assets))


if __name__ == "__main__":
    sys.exit(main())
