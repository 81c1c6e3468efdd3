"""The load itself: an open loop in one thread."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pytest_canary.adapters.load.client import Broken, Call, Pool
from pytest_canary.adapters.load.replies import Outcome, Reply
from pytest_canary.adapters.load.tally import Tally

FULL = (errno.ENOSPC, errno.EDQUOT)
REPORT_SECONDS = 0.5
DUE_SECONDS = 90.0
"""How long answers that are due are waited for after the last request has left."""
MOST = 8000
"""Requests under way at once, where the machine allows as many: far more than two cores answer."""


class Generator:
    """Sends each request at its time, whatever became of the ones before, and counts what comes back.

    With ``most`` under way there is no connection for another: those that are due then stay away, and are counted too.
    """

    def __init__(
        self, pool: Pool, calls: Sequence[Call], plan: Iterator[tuple[float, int]], timeout: float, most: int = MOST
    ) -> None:
        self._pool, self._calls, self._plan, self._timeout, self._most = pool, calls, plan, timeout, most
        self._tally = Tally()
        self._due: set[asyncio.Task[None]] = set()
        self._leaving = asyncio.Event()
        self._bug: BaseException | None = None

    def leave(self) -> None:
        """Send nothing new."""
        self._leaving.set()

    async def run(self, report: Path, alive: Callable[[], bool]) -> None:
        """Send until told to leave, then wait for what is due; write what was seen to ``report`` twice a second.

        Ends at once, without a last word, when ``alive`` says that nobody is left who would read it.
        """
        sender = asyncio.create_task(self._send())
        sender.add_done_callback(self._ended)
        while not self._leaving.is_set():
            if not alive():
                return
            try:
                self._write(report)
            except OSError as error:
                if error.errno not in FULL:  # that may pass; any other silence would look like a quiet afternoon
                    raise
            await _until(self._leaving, REPORT_SECONDS)
        sender.cancel()
        await asyncio.wait([sender, *self._due], timeout=DUE_SECONDS)
        for task in self._due:
            task.cancel()
        await asyncio.gather(*self._due, return_exceptions=True)
        if self._bug:
            raise self._bug
        self._pool.close()
        self._write(report)

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        for offset, choice in self._plan:
            await asyncio.sleep(max(start + offset - loop.time(), 0))
            if len(self._due) >= self._most:
                self._tally.unsent += 1
                continue
            task = loop.create_task(self._ask(start + offset, self._calls[choice]))
            self._due.add(task)
            task.add_done_callback(self._ended)

    async def _ask(self, due: float, call: Call) -> None:
        loop, reply = asyncio.get_running_loop(), Reply()
        self._tally.launched(loop.time() - due)
        outcome = Outcome.DROPPED
        try:
            async with asyncio.timeout_at(due + self._timeout):
                await self._pool.send(call, reply)
            outcome, why = reply.judge()
        except Broken as broken:
            why = str(broken)
        except (TimeoutError, asyncio.CancelledError):
            why = "timeout"
        except OSError as error:
            why = _kind(error)
        self._tally.ended(reply, outcome, why, loop.time() - due)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._due.discard(task)
        if not task.cancelled() and task.exception():
            self._bug = task.exception()
            self._leaving.set()

    def _write(self, report: Path) -> None:
        aside = report.with_suffix(".new")
        aside.write_text(json.dumps(self._tally.seen()))
        os.replace(aside, report)


async def _until(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


def _kind(error: OSError) -> str:
    """Name an error of a connection that was not made, as counted in ``dropped_why``."""
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
