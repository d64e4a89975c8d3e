"""Measures everything, or the parts that are named, and prints a table of each."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench.creation import measure_creation
from tests.bench.lookups import measure_cold, measure_crowd, measure_memory
from tests.bench.report import Figure, print_figures
from tests.bench.throughput import measure_growth, measure_policy, measure_warm
from tests.emulator.server import Emulator
from tests.serving import Certificate, make_certificate

Part = Callable[[Path, Certificate, Emulator], list[Figure]]

PARTS: dict[str, tuple[str, Part]] = {
    "warm": ("Warm reviews over TLS, 16 connections", measure_warm),
    "policy": ("A long policy", measure_policy),
    "growth": ("Large objects, one connection", measure_growth),
    "cold": ("Cold images", measure_cold),
    "crowd": ("A crowd", measure_crowd),
    "memory": ("Start and memory", measure_memory),
}


def main() -> int:
    """Return 0 where every figure is as wanted, 1 where one is not."""
    parser = argparse.ArgumentParser(description="Measures the webhook against floors of the same run.")
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, "creation", []], help="which parts (default: all)"
    )
    chosen = parser.parse_args().parts or [*PARTS, "creation"]
    figures: list[Figure] = []
    for name in chosen:
        with tempfile.TemporaryDirectory() as path, Emulator() as emulator:
            folder = Path(path)
            certificate = make_certificate(folder)
            if name != "creation":
                title, measure = PARTS[name]
                found = measure(folder, certificate, emulator)
            elif assets := os.environ.get("KUBEBUILDER_ASSETS"):
                title = "Through a real API server"
                found = measure_creation(folder, certificate, emulator, Path(assets))
            else:
                print("Through a real API server: left out, KUBEBUILDER_ASSETS names no folder\n")
                continue
        print_figures(title, found)
        figures += found
    missed = [figure.what.strip() for figure in figures if figure.good is False]
    print("all as wanted" if not missed else f"not as wanted: {'; '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
