"""Prometheus over HTTP: one deadline for a whole look, few tries, and errors that say what to check."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed
from urllib3.util import Retry

from pytest_canary.adapters.prometheus.access import session
from pytest_canary.adapters.prometheus.options import PrometheusOptions
from pytest_canary.adapters.prometheus.reasons import reason
from pytest_canary.errors import SourceUnavailable
from pytest_canary.ports import Shared

TRIES, BETWEEN_SECONDS = 3, 0.1
BUSY = re.compile(r"HTTP Status Code (429|50[0234])\b")
"""What may pass by itself; 503 is what a proxy in front says too."""
UNTOLD = (requests.RequestException, PrometheusApiClientException, ValueError, LookupError, TypeError)
"""What comes of asking for metadata where there is none."""
WHOLE = {"partial_response": "false"}
"""Thanos else answers with what it has when a part of it is down; Prometheus knows no such thing."""


@dataclass(slots=True)
class Budget:
    """When the present look must be over, on the run's clock."""

    until: float | None = None


class PrometheusServer:
    """The query API at one address; every error is a SourceUnavailable that names it, without credentials."""

    def __init__(self, options: PrometheusOptions, shared: Shared) -> None:
        self._options, self._clock, self._home = options, shared.clock, shared.home
        self._url = options.url.rstrip("/")
        self._budget = Budget()
        self._connected: PrometheusConnect | None = None

    @property
    def url(self) -> str:
        """The address, without user and password."""
        if self.malformed:
            return self._url.rpartition("@")[2]
        parts = urlsplit(self._url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))

    @property
    def malformed(self) -> str:
        """What is wrong with the address itself; empty when it may be right."""
        try:
            parts = urlsplit(self._url)
            sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
        except ValueError:
            sound = False
        return "" if sound else "expected an address such as http://127.0.0.1:9090"

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Everything that is asked inside must be answered in ``seconds``, all tries together."""
        before, self._budget.until = self._budget.until, self._clock.now() + seconds
        try:
            yield
        finally:
            self._budget.until = before

    def time(self) -> float:
        """The server's own clock, seconds since 1970, whose time stands at every sample."""
        answered = self.ask("time()")
        try:
            return float(answered[0])  # a scalar: [time, value]
        except (TypeError, ValueError, IndexError) as error:
            raise self._unavailable(f"answers {answered!r} for time()") from error

    def ask(self, query: str, at: float | None = None) -> Sequence[Any]:
        """What ``query`` is at the server's time ``at``, or now.

        Raises:
            SourceUnavailable: nobody answers in time, or not like Prometheus.

        """
        params = WHOLE if at is None else {**WHOLE, "time": f"{at:.3f}"}
        return self._tried(lambda: self._once().custom_query(query, dict(params), timeout=self._left()))

    def ask_range(self, query: str, begin: float, end: float, step: float) -> Sequence[Any]:
        """What ``query`` was at every ``step`` seconds from ``begin`` to ``end``, both whole seconds and included.

        Raises:
            SourceUnavailable: nobody answers in time, or not like Prometheus.

        """
        first, last = (datetime.fromtimestamp(at, UTC) for at in (begin, end))
        return self._tried(
            lambda: self._once().custom_query_range(
                query, first, last, f"{step:g}", params=dict(WHOLE), timeout=self._left()
            )
        )

    def _tried(self, asked: Callable[[], Any]) -> Sequence[Any]:
        """What is answered, after a few tries; raises SourceUnavailable."""
        tries = Retrying(
            retry=retry_if_exception(self._may_pass),
            stop=stop_after_attempt(TRIES),
            wait=wait_fixed(BETWEEN_SECONDS),
            sleep=self._clock.sleep,
            reraise=True,
        )
        try:
            answered = tries(asked)
        except (requests.exceptions.InvalidJSONError, LookupError, TypeError) as error:
            raise self._unavailable("answers, but not like Prometheus; is this a login page?") from error
        except (requests.RequestException, PrometheusApiClientException, OSError, ValueError) as error:
            raise self._unavailable(reason(error, self._options.timeout)) from error
        if not isinstance(answered, list):
            raise self._unavailable("answers, but not like Prometheus; is this a login page?")
        return answered

    def kinds(self, metrics: Iterable[str]) -> Mapping[str, str]:
        """The types of ``metrics`` as their targets told them, such as ``gauge``; those that nobody knows left out."""
        known: dict[str, str] = {}
        with session(self._options, self._home) as asking:
            for metric in metrics:
                with suppress(*UNTOLD):
                    url = f"{self._url}/api/v1/metadata"
                    told = asking.get(url, params={"metric": metric}, timeout=self._left()).json()["data"][metric]
                    known[metric] = " or ".join(sorted({str(one["type"]) for one in told}))
        return known

    def close(self) -> None:
        """Let go of connections."""
        if self._connected is not None:
            self._connected.close()

    def _once(self) -> PrometheusConnect:
        if self._connected is None:
            self._connected = PrometheusConnect(
                self._url, session=session(self._options, self._home), retry=Retry(0, read=False)
            )
        return self._connected

    def _left(self) -> float:
        if self._budget.until is None:
            return self._options.timeout
        left = self._budget.until - self._clock.now()
        if left <= 0:
            raise requests.Timeout
        return left

    def _may_pass(self, error: BaseException) -> bool:
        if isinstance(error, requests.Timeout | requests.exceptions.SSLError):
            return False
        return isinstance(error, requests.ConnectionError) or bool(BUSY.match(str(error)))

    def _unavailable(self, why: str) -> SourceUnavailable:
        return SourceUnavailable(f"prometheus at {self.url} {why}")
