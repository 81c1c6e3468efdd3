"""Rollouts of a batch, one row each, that may leave it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

Index = NDArray[np.intp]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]


def axes(**names: int) -> Mapping[str, int]:
    """Names of arrays, and the axis on which rollouts lie."""
    return MappingProxyType(names)


class Rows:
    """What is known of a batch; :meth:`keep` lets rollouts leave that have ended, so that they cost nothing more.

    A subclass names its arrays with the axis on which its rollouts lie, and the attributes that are such parts
    themselves (one, a list of them, or None).
    """

    AXES: ClassVar[Mapping[str, int]] = axes()
    PARTS: ClassVar[tuple[str, ...]] = ()

    def keep(self, rows: Index) -> None:
        """Go on with these rollouts only, in this order."""
        for name, axis in self.AXES.items():
            values = getattr(self, name)
            if values is not None:
                setattr(self, name, np.take(values, rows, axis))
        parts = [getattr(self, name) for name in self.PARTS]
        each = [one for part in parts for one in (part if isinstance(part, list) else [part]) if one is not None]
        for one in {id(one): one for one in each}.values():  # two names may mean the same part
            cast(Any, one).keep(rows)


_POLLS: ContextVar[int] = ContextVar("polls of one rollout", default=0)


@contextmanager
def successive(polls: int) -> Iterator[None]:
    """Within it a batch is one rollout, and its rows are what was so after each of ``polls`` polls that follow.

    Every row begins with what was known before them all, and what is handed in is each poll's own; so whatever is
    added up goes :func:`onward` from row to row.  Where time is virtual, hours are judged at once in this way; row t
    never depends on a later one, so a rollout may go on from any of them.
    """
    token = _POLLS.set(polls)
    try:
        yield
    finally:
        _POLLS.reset(token)


def polls_ahead() -> int:
    """How many successive polls the rows are; 0 where they are rollouts."""
    return _POLLS.get()


def onward(values: NDArray[Any], axis: int = 0) -> NDArray[Any]:
    """What each row has to add: its own value or, where rows are successive polls, those of all polls up to it.

    Of what was :func:`repeated`, every repetition by itself.
    """
    polls = _POLLS.get()
    if not polls:
        return values
    shape = values.shape
    parted = values.reshape(*shape[:axis], -1, polls, *shape[axis + 1 :])
    return np.cumsum(parted, axis=axis + 1).reshape(shape)


def column(values: ArrayLike, batch: int) -> Floats:
    """One number per rollout, from one for all or one for each."""
    array = np.asarray(values, dtype=np.float64)
    return array if array.shape == (batch,) else np.array(np.broadcast_to(array, (batch,)))


def repeated(values: ArrayLike, times: int) -> Floats:
    """The rows of a batch, ``times`` over: several processes of one shape are kept as one that is so much wider."""
    array = np.atleast_1d(np.asarray(values))
    return cast(Floats, array if times == 1 else np.tile(array, times))


def wide(rows: Index, batch: int, times: int) -> Index:
    """Where ``rows`` of a batch of ``batch`` lie in what was repeated ``times`` over."""
    return rows if times == 1 else (rows + batch * np.arange(times)[:, None]).ravel()


def stacked(parts: Iterable[ArrayLike], batch: int) -> Floats:
    """Several columns, one after the other."""
    return np.concatenate([column(part, batch) for part in parts])
