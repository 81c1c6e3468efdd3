"""One cluster's API server: who we are there, and plain JSON objects to and fro.

Objects are passed as the JSON they are, so that what we do not know is kept byte for byte.
"""

from __future__ import annotations

import json
import ssl
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Condition, RLock
from typing import Any

import httpx
from tenacity import RetryCallState, Retrying, stop_after_attempt, wait_fixed

from pytest_canary.adapters.kube.errors import Busy, Refused, Unreachable, refusal, which
from pytest_canary.adapters.kube.names import HANDLE, Json, path_of
from pytest_canary.errors import AdapterError, SpecError
from pytest_canary.ports import Shared

MANAGER = "pytest-canary"
"""Under this name the API server remembers which fields were set by us."""
TIMEOUT = httpx.Timeout(10.0, connect=4.0)
TRIES = 3
CLOSE_SECONDS = 5.0
PAUSE_SECONDS = 0.3
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
REPEATABLE = frozenset({"GET", "PUT", "DELETE"})
"""What may have been done and not answered is done again only where that changes nothing."""


class Cluster:
    """The API server as one user in one namespace sees it.  ``asked`` counts the requests."""

    def __init__(self, configuration: Any, namespace: str) -> None:
        self.namespace = namespace
        self.asked = 0
        self._configuration = configuration
        self._lock = RLock()
        self._http: httpx.Client | None = None
        self._quiet = Condition(self._lock)
        self._asking = 0
        self._ahead_seconds = 0.0

    @classmethod
    def connect(cls, kubeconfig: str | None, context: str | None, namespace: str) -> Cluster:
        """Read the kubeconfig, or what a pod is given; asks nobody yet.

        Raises:
            SpecError: there is no such file or context.

        """
        import kubernetes

        client: Any = kubernetes.client
        config: Any = kubernetes.config
        configuration = client.Configuration()
        try:
            config.load_kube_config(kubeconfig, context, configuration, persist_config=False)
        except config.ConfigException as error:
            if kubeconfig is None and context is None:
                try:
                    config.load_incluster_config(client_configuration=configuration)
                    return cls(configuration, namespace)
                except config.ConfigException:
                    pass
            raise SpecError(which(kubeconfig, context, error)) from error
        except Exception as error:  # a file that is none: whatever the official client makes of it
            raise SpecError(which(kubeconfig, context, error)) from error
        return cls(configuration, namespace)

    @staticmethod
    def of(shared: Shared) -> Cluster:
        """The cluster that the platform of this target has connected to.

        Raises:
            SpecError: the platform is none on Kubernetes.

        """
        cluster = shared.handles.get(HANDLE)
        if not isinstance(cluster, Cluster):
            raise SpecError("a Gateway API router needs `platform: {kubernetes: {...}}` in the same target")
        return cluster

    @property
    def host(self) -> str:
        """Where the API server is."""
        return str(self._configuration.host)

    @property
    def configuration(self) -> Any:
        """What the official client is made with."""
        return self._configuration

    def now(self) -> datetime:
        """The API server's own time, which all who compare it share."""
        return datetime.fromtimestamp(datetime.now(UTC).timestamp() + self._ahead_seconds, UTC)

    # -- objects -----------------------------------------------------------------------------------------------

    def get(self, kind: str, name: str, namespace: str | None = None) -> Json | None:
        """One object; None when there is none."""
        try:
            return self._ask("GET", self._path(kind, name, namespace))
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def find(self, kind: str, selector: str = "", fields: str = "", namespace: str | None = None) -> list[Json]:
        """All objects of a kind in the namespace that a label selector and a field selector choose."""
        query = {name: value for name, value in (("labelSelector", selector), ("fieldSelector", fields)) if value}
        found = self._ask("GET", self._path(kind, "", namespace), query=query)
        return list(found.get("items") or [])

    def make(self, kind: str, body: Json, namespace: str | None = None) -> Json:
        """Create an object; raises :class:`Changed` when there is one of that name."""
        return self._ask("POST", self._path(kind, "", namespace), body)

    def put(self, kind: str, body: Json) -> Json:
        """Replace an object; raises :class:`Changed` when its resourceVersion is not the newest any more."""
        named = body["metadata"]
        return self._ask("PUT", self._path(kind, named["name"], named.get("namespace")), body)

    def patch(self, kind: str, name: str, body: Any, namespace: str | None = None) -> Json:
        """Merge ``body`` into an object; a list is a JSON patch."""
        content = JSON_PATCH if isinstance(body, list) else MERGE
        return self._ask("PATCH", self._path(kind, name, namespace), body, content=content)

    def delete(self, kind: str, name: str, namespace: str | None = None, *, version: str = "") -> None:
        """Delete an object and what it owns; deleting what is gone changes nothing.

        Raises:
            Changed: its resourceVersion is not ``version`` any more.

        """
        body: Json = {"propagationPolicy": "Background"}
        if version:
            body["preconditions"] = {"resourceVersion": version}
        try:
            self._ask("DELETE", self._path(kind, name, namespace), body)
        except Refused as error:
            if error.status != 404:
                raise

    def review(self, kind: str, spec: Json) -> Json:
        """What the authorizers say about ourselves."""
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
        return dict(self._ask("POST", f"/apis/authorization.k8s.io/v1/{kind.lower()}s", body).get("status") or {})

    # -- the wire ----------------------------------------------------------------------------------------------

    def _path(self, kind: str, name: str = "", namespace: str | None = None) -> str:
        return path_of(kind, name, namespace or self.namespace)

    def _ask(
        self, method: str, path: str, body: Any = None, *, query: Mapping[str, str] | None = None, content: str = ""
    ) -> Json:
        def again(state: RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            unread = isinstance(error, Busy) and error.unread
            return unread or (isinstance(error, Unreachable) and method in REPEATABLE)

        tries = Retrying(retry=again, stop=stop_after_attempt(TRIES), wait=wait_fixed(PAUSE_SECONDS), reraise=True)
        return tries(self._once, method, path, body, query, content or "application/json")

    def _once(self, method: str, path: str, body: Any, query: Mapping[str, str] | None, content: str) -> Json:
        headers = {"Accept": "application/json", **self._credentials()}
        if body is not None:
            headers["Content-Type"] = content
        if method in ("POST", "PUT", "PATCH") and "/authorization." not in path:
            query = {**(query or {}), "fieldManager": MANAGER}
        data = None if body is None else json.dumps(body)
        self.asked += 1
        name = getattr(self._configuration, "tls_server_name", None)
        more: dict[str, Any] = {"extensions": {"sni_hostname": name}} if name else {}
        try:
            with self._busy() as client:
                answer = client.request(
                    method, self.host.rstrip("/") + path, params=query, content=data, headers=headers, **more
                )
        except httpx.HTTPError as error:
            raise self._silence(error) from error
        self._compare_clocks(answer.headers.get("date"))
        try:
            told: Any = answer.json()
        except ValueError:
            told = {"message": answer.text.strip().partition("\n")[0]}
        if answer.is_success and isinstance(told, dict):
            return told
        said = (told.get("message") if isinstance(told, dict) else "") or answer.reason_phrase
        raise refusal(method, path, self.host, answer.status_code, said)

    def _silence(self, error: httpx.HTTPError) -> AdapterError:
        said = " ".join(str(error).split()) or type(error).__name__
        if "CERTIFICATE" in said or "SSL" in said:
            return AdapterError(
                f"the API server {self.host} is not the one that the kubeconfig names ({said}); "
                "mend its `certificate-authority` or `server`"
            )
        return Unreachable(f"the API server {self.host} does not answer ({said}); type `kubectl cluster-info`")

    def _client(self) -> httpx.Client:
        with self._lock:
            if self._http is None:
                ours = self._configuration
                try:
                    verify: ssl.SSLContext | bool = ssl.create_default_context(cafile=ours.ssl_ca_cert or None)
                    if ours.cert_file and isinstance(verify, ssl.SSLContext):
                        verify.load_cert_chain(ours.cert_file, ours.key_file)
                except (OSError, ValueError) as error:
                    said = " ".join(str(error).split())
                    raise AdapterError(
                        f"the certificates of the kubeconfig for {self.host} cannot be read ({said}); log in anew"
                    ) from error
                if not ours.verify_ssl and isinstance(verify, ssl.SSLContext):
                    verify.check_hostname, verify.verify_mode = False, ssl.CERT_NONE
                self._http = httpx.Client(verify=verify, timeout=TIMEOUT, proxy=ours.proxy or None)
                weakref.finalize(self, self._http.close)  # for whoever only looked, and has nobody to stop
            return self._http

    def _credentials(self) -> dict[str, str]:
        settings = self._configuration.auth_settings().values()  # asks for a new token where one has run out
        return {one["key"]: one["value"] for one in settings if one.get("in") == "header" and one.get("value")}

    def _compare_clocks(self, date: str | None) -> None:
        if not date:
            return
        ahead = parsedate_to_datetime(date).timestamp() + 0.5 - datetime.now(UTC).timestamp()
        # Whole seconds on the wire: only what is more than that is a difference.
        self._ahead_seconds = ahead if abs(ahead) > 1.5 else 0.0

    def close(self) -> None:
        """Let go of connections.  Safe to repeat."""
        with self._quiet:
            self._quiet.wait_for(lambda: not self._asking, CLOSE_SECONDS)
            client, self._http = self._http, None
        if client is not None:
            client.close()

    @contextmanager
    def _busy(self) -> Iterator[httpx.Client]:
        """Nobody closes the connections while somebody opens one."""
        client = self._client()
        with self._quiet:
            self._asking += 1
        try:
            yield client
        finally:
            with self._quiet:
                self._asking -= 1
                self._quiet.notify_all()
