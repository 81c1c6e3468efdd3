"""A client of the API server in a few lines, for the parts of the cluster that are not tests."""

from __future__ import annotations

import json
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Api:
    """Speaks to the server of a kubeconfig that is written in JSON and has a token."""

    def __init__(self, kubeconfig: Path) -> None:
        config = json.loads(kubeconfig.read_text())
        self._server = config["clusters"][0]["cluster"]["server"]
        self._tls = ssl.create_default_context(cafile=config["clusters"][0]["cluster"]["certificate-authority"])
        self._headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}

    def get(self, path: str) -> Any:
        """The JSON at ``path``."""
        with self._open(path, 10) as answer:
            return json.load(answer)

    def healthy(self) -> bool:
        """Whether the server says that it is ready."""
        with self._open("/readyz", 2) as answer:
            return bool(answer.status == 200)

    def watch(self, path: str) -> Iterator[Any]:
        """One event after the other, until the server ends the watch."""
        with self._open(path, None) as answer:
            for line in answer:
                yield json.loads(line)

    def _open(self, path: str, seconds: float | None) -> Any:
        request = urllib.request.Request(self._server + path, headers=self._headers)
        return urllib.request.urlopen(request, timeout=seconds, context=self._tls)
