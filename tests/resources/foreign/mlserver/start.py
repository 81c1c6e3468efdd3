"""start.py PORT TAG: MLServer with the build TAG of the model on PORT, and told to Prometheus.

MLServer counts on a port of its own.  Whoever looks for a build's numbers knows where users ask it, so that is what
its series are labelled with.
"""

import json
import os
import socket
import sys
from pathlib import Path

port, tag = sys.argv[1:]
with socket.socket() as one, socket.socket() as other:
    one.bind(("127.0.0.1", 0)), other.bind(("127.0.0.1", 0))
    metrics, grpc = one.getsockname()[1], other.getsockname()[1]

Path("targets").mkdir(exist_ok=True)
found = Path("targets", f"{port}.json")
aside = found.with_suffix(".new")
aside.write_text(json.dumps([{"targets": [f"127.0.0.1:{metrics}"], "labels": {"instance": f"127.0.0.1:{port}"}}]))
aside.rename(found)

settings = {"HOST": "127.0.0.1", "HTTP_PORT": port, "GRPC_PORT": grpc, "METRICS_PORT": metrics, "DEBUG": "false"}
settings |= {"METRICS_DIR": str(Path("run", port).absolute())}  # where its worker and its server meet
Path("run").mkdir(exist_ok=True)
os.environ |= {f"MLSERVER_{name}": str(value) for name, value in settings.items()} | {"BUILD": tag}
server = str(Path(sys.executable).with_name("mlserver"))
os.execv(server, [server, "start", "triage"])
