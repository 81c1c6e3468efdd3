"""Rollouts of a batch, one row each, that may leave it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
        for name in self.PARTS:
            part = getattr(self, name)
            for one in part if isinstance(part, list) else [part]:
                if one is not None:
                    cast(Any, one).keep(rows)


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
