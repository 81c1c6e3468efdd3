"""``python -m pytest_canary.demo --port N --build TAG``: serve one build until SIGTERM, then finish what has begun."""

from __future__ import annotations

import argparse
import signal
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_canary.demo.builds import BUILDS

if TYPE_CHECKING:
    from pytest_canary.demo.gateway import Gateway

KEEP_ALIVE_SECONDS = 3700
"""Above the idle timeout of whatever stands in front, so that no request meets a connection that closes.

A gateway of Envoys keeps an idle connection for an hour, unless it is told otherwise.
"""
FINISH_SECONDS = 120


def main(argv: Sequence[str] | None = None) -> int:
    """Serve, or with ``--check`` only say whether the build is known: 0, or 2 and one line."""
    options = _parser().parse_args(argv)
    build = BUILDS.get(options.build)
    if build is None:
        known = ", ".join(BUILDS)
        sys.stderr.write(f"no build {options.build!r} of the demo gateway; --build takes one of: {known}\n")
        return 2
    if options.check:
        return 0
    if options.port is None:
        sys.stderr.write("no --port given; type --port 8000, or --port 0 for a free one\n")
        return 2
    from pytest_canary.demo.gateway import Gateway

    return _serve(Gateway(build, options.seed, options.minute), options.host, options.port)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pytest_canary.demo", description=__doc__)
    parser.add_argument("--build", required=True, metavar="TAG", help=f"one of: {', '.join(BUILDS)}")
    parser.add_argument("--port", type=int, metavar="N", help="0 takes a free one; the line printed first names it")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--seed", type=int, metavar="N", help="draw the same times and errors again")
    parser.add_argument(
        "--minute", type=float, default=60.0, metavar="SECONDS", help="how long a minute of `v2-flaky` is"
    )
    parser.add_argument("--check", action="store_true", help="say whether the build is known, and serve nothing")
    return parser


def _serve(gateway: Gateway, host: str, port: int) -> int:
    import uvicorn

    config = uvicorn.Config(
        gateway,
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_config=None,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=FINISH_SECONDS,
    )
    # uvicorn raises the signal again once it has shut down; a clean end is not a death by signal.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, (lambda *_: None) if gateway.build.deaf else (lambda *_: sys.exit(0)))
    try:
        listener = socket.create_server((host, port), backlog=2048)
    except OSError as error:
        sys.stderr.write(f"cannot listen on {host}:{port}: {error.strerror}; type another --port\n")
        return 1
    # Head and body are two writes: with Nagle's algorithm the second waits 40 ms for the client's delayed ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sys.stdout.write(f"build {gateway.build.name} on http://{host}:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    server = uvicorn.Server(config)
    if gateway.build.deaf:
        server.handle_exit = lambda *_: None  # type: ignore[method-assign]
    server.run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
