"""Why there is no answer, in words that name what to check; never the text of a request, which may hold secrets."""

from __future__ import annotations

import ast
import json
import re
import socket
from contextlib import suppress

import requests
from prometheus_api_client.exceptions import PrometheusApiClientException

OUTSIDE = "kubectl -n monitoring port-forward svc/prometheus 9090"


def reason(error: Exception, timeout: float) -> str:
    """What went wrong, as the end of a sentence that begins with the server's address."""
    if isinstance(error, requests.Timeout):
        return f"does not answer: nothing in {timeout:g} s; check that it is up, or raise `metrics.prometheus.timeout`"
    if isinstance(error, requests.TooManyRedirects):
        return "sends us elsewhere, to log in as it seems; check `metrics.prometheus.url` and `bearer` or `basic`"
    if isinstance(error, PrometheusApiClientException):
        return _refusal(str(error))
    if isinstance(error, requests.exceptions.SSLError):
        return f"does not answer: {_root(error)}; check `metrics.prometheus.tls`"
    if isinstance(error, requests.RequestException):
        return (
            f"does not answer: {_root(error)}; check `metrics.prometheus.url`, or from outside the cluster: {OUTSIDE}"
        )
    return f"was not asked: {getattr(error, 'filename', None) or ''}: {getattr(error, 'strerror', None) or error}"


def _refusal(said: str) -> str:
    found = re.search(r"HTTP Status Code (\d+)", said)
    code = found[1] if found else "?"
    if code in ("401", "403"):
        return f"lets us not in ({code}); check `metrics.prometheus.bearer`, `bearer_file`, `basic` or `headers`"
    if code == "404":
        return "has no query API there (404); check the path of `metrics.prometheus.url`"
    look = "the profile and `metrics.prometheus.labels`" if code in ("400", "422") else "its own log"
    detail = " ".join(_detail(said).split())[:300]
    return f"answers {code}{': ' + detail if detail else ''}; check {look}"


def _detail(said: str) -> str:
    """What Prometheus itself says is wrong; empty when it is another server that answers."""
    body = re.search(r"\((b['\"].*)\)$", said, re.DOTALL)
    with suppress(ValueError, SyntaxError, TypeError, KeyError):
        return str(json.loads(ast.literal_eval(body[1]))["error"]) if body else ""
    return ""


def _root(error: BaseException) -> str:
    """The innermost cause, in its own words."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, socket.gaierror):
            return "its name is not known"
        if isinstance(seen, OSError) and seen.strerror and not isinstance(seen, requests.RequestException):
            return seen.strerror.lower()
        inner = getattr(seen, "reason", None)
        args = [one for one in seen.args if isinstance(one, BaseException)]
        seen = next(
            (one for one in (inner, *args, seen.__cause__, seen.__context__) if isinstance(one, BaseException)), None
        )
    return type(error).__name__
