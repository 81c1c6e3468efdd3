"""`python app.py PORT TAG`: a Ray of its own with one application on it; the tag says which build that is."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_DISABLE_IMPORT_WARNING": "1"}

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse

HOST = "127.0.0.1"
PORT, TAG = int(sys.argv[1]), sys.argv[2]
WORK_SECONDS = 0.15 if TAG == "v2-slow" else 0.02
GOOD_FOR = 60
"""So many requests are answered before a fault shows: smoke and warm-up find nothing."""


@serve.deployment(max_ongoing_requests=100, ray_actor_options={"num_cpus": 0})
class Shop:
    """Looks up a price."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, request: Request) -> JSONResponse:
        if request.url.path == "/health":
            return JSONResponse({"ok": True})
        self.asked += 1
        await asyncio.sleep(WORK_SECONDS)
        worn = self.asked > GOOD_FOR
        if TAG == "v2-errors" and worn and self.asked % 6 == 0:
            raise RuntimeError("no such shelf")
        if TAG == "v2-strict" and worn and self.asked % 4 == 0:
            return JSONResponse({"error": "a currency is needed"}, 422)
        return JSONResponse({"article": request.url.path.rpartition("/")[2], "price": 3.5})


def free_port() -> int:
    """A port that nobody listens on as yet."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        return int(free.getsockname()[1])


def announce(metrics: int) -> Path:
    """Tell Prometheus: Ray counts at a port of its own, and what it counts was served at ``PORT``."""
    file = Path("targets") / f"{PORT}.json"
    file.parent.mkdir(exist_ok=True)
    told = [{"targets": [f"{HOST}:{metrics}"], "labels": {"instance": f"{HOST}:{PORT}", "build": TAG}}]
    aside = file.with_suffix(".new")
    aside.write_text(json.dumps(told))
    aside.rename(file)
    return file


def main() -> None:
    """Serve until somebody asks to end."""
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    metrics, folder = free_port(), tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # paths of sockets must be short
    try:
        ray.init(
            num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000,
            _node_ip_address=HOST, _metrics_export_port=metrics, _temp_dir=folder,
        )  # fmt: skip
        serve.start(http_options={"host": HOST, "port": PORT})
        serve.run(Shop.bind(), name="shop", route_prefix="/")
        told = announce(metrics)
        signal.sigwait(ends)
        told.unlink()
        serve.shutdown()
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
