"""Run the emulator in its own process, on gevent: ``python -m tests.emulator``."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402 - after the patch
import ssl  # noqa: E402
import threading  # noqa: E402
from pathlib import Path  # noqa: E402

from tests.emulator.server import SEED, Emulator  # noqa: E402
from tests.emulator.state import State  # noqa: E402


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Emulates SWR's tag APIs and IAM on the loopback address.")
    parser.add_argument("--seed", type=Path, default=SEED, help="YAML file of images and identities")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback)")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, metavar="MILLISECONDS")
    parser.add_argument("--tls-cert")
    parser.add_argument("--tls-key")
    options = parser.parse_args()
    context = None
    if options.tls_cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.tls_cert, options.tls_key)
    state = State.load(options.seed)
    emulator = Emulator(state, options.port, context, options.latency / 1000, options.host)
    print(f"SWR emulator on {emulator.url}", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        emulator.close()


if __name__ == "__main__":
    main()
