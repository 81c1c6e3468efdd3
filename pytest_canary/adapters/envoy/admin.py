"""HTTP over a Unix socket: how we talk to our Envoy, past the network."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path

TIMEOUT_SECONDS = 5.0


class UnixConnection(http.client.HTTPConnection):
    """A connection to the server that listens on ``path``."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_SECONDS)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def get(path: Path, target: str, host: str = "localhost") -> bytes:
    """What ``GET target`` answers on the socket at ``path``; raises OSError when nobody answers, or not with 200."""
    connection = UnixConnection(path)
    try:
        connection.request("GET", target, headers={"Host": host, "Connection": "close"})
        response = connection.getresponse()
        body = response.read()
    except http.client.HTTPException as error:
        raise OSError(f"{path}: {type(error).__name__}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise OSError(f"{path}: GET {target} answered {response.status}")
    return body
