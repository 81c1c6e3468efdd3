"""How a Prometheus lets us in: headers, tokens, passwords and certificates, in one session."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import requests
from prometheus_api_client.exceptions import PrometheusApiClientException
from requests.auth import AuthBase, HTTPBasicAuth
from urllib3 import disable_warnings
from urllib3.exceptions import InsecureRequestWarning

from pytest_canary.adapters.prometheus.options import PrometheusOptions

LONGEST = 4000
"""Characters of a query in an address; 8 KiB is where usual proxies refuse one."""
WRONG = re.compile(rb'\s*\{\s*"status"\s*:\s*"error"')
"""What Prometheus answers when it has none."""


class Bearer(AuthBase):
    """A token in the header of every request, read anew where it stands in a file."""

    def __init__(self, token: str = "", file: Path | None = None) -> None:
        self._token, self._file = token, file

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        token = self._file.read_text().strip() if self._file else self._token
        if token:
            request.headers["Authorization"] = f"Bearer {token}"
        return request


class LongQueries(requests.Session):
    """Sends what is too long for an address in the body of a POST, as Grafana does with every query."""

    def request(self, method: Any, url: Any, params: Any = None, data: Any = None, *more: Any, **named: Any) -> Any:
        """Like any session."""
        if method == "GET" and params and len(urlencode(params)) > LONGEST:
            method, params, data = "POST", None, params
        answer = super().request(method, url, params, data, *more, **named)
        if answer.ok and WRONG.match(answer.content):  # who looks at the status alone takes it for an answer
            raise PrometheusApiClientException(f"HTTP Status Code {answer.status_code} ({answer.content!r})")
        return answer


def session(options: PrometheusOptions, home: Path) -> requests.Session:
    """Return what every request of ``options`` goes through; paths are relative to ``home``."""
    made = LongQueries()
    made.max_redirects = 0  # to a login page, as a rule; and headers are for this address only
    made.headers.update({name: value.get_secret_value() for name, value in options.headers.items()})
    if options.tenant is not None:
        made.headers["X-Scope-OrgID"] = options.tenant
    made.auth = _auth(options, home)
    if options.tls.cert:
        files = [str(home / one) for one in (options.tls.cert, options.tls.key) if one]
        made.cert = (files[0], files[1]) if len(files) > 1 else files[0]
    if options.tls.insecure:
        disable_warnings(InsecureRequestWarning)
    made.verify = str(home / options.tls.ca) if options.tls.ca else not options.tls.insecure
    return made


def _auth(options: PrometheusOptions, home: Path) -> AuthBase:
    if options.basic is not None:
        return HTTPBasicAuth(options.basic.user.get_secret_value(), options.basic.password.get_secret_value())
    parts = urlsplit(options.url)
    if parts.username:
        return HTTPBasicAuth(parts.username, parts.password or "")
    if options.bearer_file is not None:
        return Bearer(file=home / options.bearer_file)
    # Without a token too, so that nothing is taken from ~/.netrc in place of a header of the user's.
    return Bearer(options.bearer.get_secret_value() if options.bearer else "")
