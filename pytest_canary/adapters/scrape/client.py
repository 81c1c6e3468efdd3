"""Pages over HTTP, all at the same time: what came, or in one line why nothing did."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from pytest_canary.adapters.scrape.exposition import ACCEPT, Unreadable
from pytest_canary.adapters.scrape.options import MEBIBYTE, ScrapeOptions

AT_ONCE = 32
KEEP_ALIVE_SECONDS = 1.5
"""Below every server's own, so that nothing is asked on a connection that is being closed."""
REDIRECTS = 2
"""Mostly to the same path with a slash behind it."""
GRACE_SECONDS = 0.2

Read = TypeVar("Read")


class Bearer(httpx.Auth):
    """A token in the header of every request, read anew from its file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """As httpx has it."""
        request.headers["Authorization"] = f"Bearer {self._file.read_text().strip()}"
        yield request


class Pages:
    """Asks for pages in threads of its own; connections are kept."""

    def __init__(self, options: ScrapeOptions, home: Path) -> None:
        self._options, self._home = options, home
        self._client: httpx.Client | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._late: dict[str, Future[Any]] = {}

    def all(self, urls: Iterable[str], read: Callable[[str, str, str], Read]) -> Mapping[str, Read | str]:
        """``read(url, text, content type)`` of every page, or why there is none: the end of a sentence."""
        try:
            self._client = self._client or self._connected()
        except (OSError, ValueError) as error:  # files of `tls` that are none, headers with a line break
            why = (
                f"was not asked: {getattr(error, 'strerror', None) or error}; check `metrics.scrape.tls` and `headers`"
            )
            return dict.fromkeys(urls, why)
        self._pool = self._pool or ThreadPoolExecutor(AT_ONCE, "canary-scrape")
        self._late = {url: one for url, one in self._late.items() if not one.done()}
        asked: dict[str, Future[Read | str]] = {}
        for url in dict.fromkeys(urls):
            if url not in self._late:  # one that still hangs is not asked once more at the same time
                asked[url] = self._pool.submit(self._one, url, read)
        wait(asked.values(), self._options.timeout + GRACE_SECONDS)
        self._late |= {url: one for url, one in asked.items() if not one.done()}
        return {
            url: one.result() if (one := asked.get(url)) and one.done() else self._silent for url in dict.fromkeys(urls)
        }

    def close(self) -> None:
        """Let go of connections.  Safe to repeat."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.close()
        self._client, self._pool, self._late = None, None, {}

    @property
    def _silent(self) -> str:
        return f"does not answer: nothing in {self._options.timeout:g} s; check it, or raise `metrics.scrape.timeout`"

    def _one(self, url: str, read: Callable[[str, str, str], Read]) -> Read | str:
        until = time.monotonic() + self._options.timeout
        try:
            text, content_type = self._page(url, until)
            return read(url, text, content_type)
        except Unreadable as error:
            return str(error)
        except httpx.TimeoutException:
            return self._silent
        except httpx.DecodingError:
            return "answers what cannot be unpacked"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"does not answer: {_root(error)}"
        except OSError as error:
            return f"was not asked: {error.filename or ''}: {error.strerror or error}; check `metrics.scrape`"

    def _page(self, url: str, until: float) -> tuple[str, str]:
        """Text and content type; follows a redirect to the same server, since headers are for this one only."""
        client, here = self._client, url
        if client is None:
            raise Unreadable("is not asked any more")
        for _ in range(1 + REDIRECTS):
            with client.stream("GET", here) as response:
                if response.next_request is None:
                    _must_be_well(response)
                    return self._text(response, until), response.headers.get("content-type", "")
                there = str(response.next_request.url)
            if urlsplit(there)[:2] != urlsplit(here)[:2]:
                break
            here = there
        raise Unreadable("sends us elsewhere, to log in as it seems; check `metrics.scrape.path` and `bearer`")

    def _text(self, response: httpx.Response, until: float) -> str:
        pieces, size, most = list[bytes](), 0, self._options.body_limit
        for piece in response.iter_bytes():
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise Unreadable(
                    f"is longer than {most / MEBIBYTE:.3g} MiB, or has no end; let it tell less, or raise "
                    "`metrics.scrape.body_limit`"
                )
            if time.monotonic() > until:
                raise Unreadable(
                    f"has not come to its end in {self._options.timeout:g} s ({size} bytes until then); let it tell "
                    "less, or raise `metrics.scrape.timeout`"
                )
        try:
            return b"".join(pieces).decode()
        except UnicodeDecodeError as error:
            raise Unreadable(f"is no UTF-8 (byte {error.start})") from error

    def _connected(self) -> httpx.Client:
        options = self._options
        headers = {name: value.get_secret_value() for name, value in options.headers.items()}
        auth: httpx.Auth | None = None
        if options.basic:
            auth = httpx.BasicAuth(options.basic.user.get_secret_value(), options.basic.password.get_secret_value())
        elif options.bearer_file:
            auth = Bearer(self._home / options.bearer_file)
        elif options.bearer:
            headers["Authorization"] = f"Bearer {options.bearer.get_secret_value()}"
        return httpx.Client(
            headers={"Accept": ACCEPT, "Accept-Encoding": "gzip", **headers},
            auth=auth,
            verify=_context(options, self._home),
            timeout=options.timeout,
            limits=httpx.Limits(max_connections=None, keepalive_expiry=KEEP_ALIVE_SECONDS),
            trust_env=False,  # a replica is next to us; a proxy on the way would answer in its place
        )


def _context(options: ScrapeOptions, home: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(home / options.tls.ca) if options.tls.ca else None)
    if options.tls.insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if options.tls.cert:
        context.load_cert_chain(home / options.tls.cert, home / options.tls.key if options.tls.key else None)
    return context


def _must_be_well(response: httpx.Response) -> None:
    code = response.status_code
    if code in (401, 403):
        raise Unreadable(f"lets us not in ({code}); check `metrics.scrape.bearer`, `bearer_file`, `basic` or `headers`")
    if code == 404:
        raise Unreadable("is not there (404); check `metrics.scrape.path` and `port`")
    if code != 200:
        raise Unreadable(f"answers {code} and no metrics")


def _root(error: BaseException) -> str:
    """The innermost cause, in its own words."""
    seen: BaseException = error
    while (inner := seen.__cause__ or seen.__context__) is not None:
        seen = inner
    said = seen.strerror if isinstance(seen, OSError) and seen.strerror else str(seen) or type(seen).__name__
    return " ".join(said.split()).lower()[:120]
