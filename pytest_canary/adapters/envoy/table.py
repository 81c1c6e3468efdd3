"""Who stands for which role and gets which share: one frozen table, replaced as a whole."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pytest_canary.errors import AdapterError
from pytest_canary.ports import Role, Weights

UNITS = 1_000_000
"""Envoy's weights are whole numbers; so many of them are all traffic, which leaves room for 0.5 % and far less."""
TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Place:
    """What stands for a role: a revision's pin, where it listens, and its share of the traffic."""

    cluster: str
    """Envoy's name for it; the pin, unless another role already goes by that."""
    pin: str
    address: str
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Table:
    """All that Envoy is told at once.  ``version`` grows with every change."""

    version: int = 0
    places: Mapping[Role, Place] = field(default_factory=dict)
    mirror: float = 0.0

    def attach(self, role: Role, pin: str, address: str) -> Table:
        """``pin`` at ``address`` stands for ``role``, with the share that the role had."""
        held = self.places.get(role)
        others = {place.cluster for other, place in self.places.items() if other is not role}
        cluster = pin if pin not in others else f"{pin}-{role}"
        place = Place(cluster, pin, address, held.share if held else 0.0)
        return self if place == held else self._with({**self.places, role: place})

    def detach(self, role: Role) -> Table:
        """Without ``role``; raises :class:`~pytest_canary.errors.AdapterError` while it holds traffic."""
        held = self.places.get(role)
        if held is None:
            return self
        if held.share:
            raise AdapterError(f"{role} still holds {held.share:.4g} of the traffic; set its weight to 0 first")
        places = {other: place for other, place in self.places.items() if other is not role}
        return replace(self._with(places), mirror=0.0 if role is Role.CANARY else self.mirror)

    def share_out(self, weights: Weights) -> Table:
        """With these shares; raises :class:`~pytest_canary.errors.AdapterError` when they make no sense."""
        for role, share in weights.items():
            if role not in self.places:
                raise AdapterError(f"weight for {role}, but attached are {self._roles()}; attach it first")
            if not (math.isfinite(share) and share >= 0):
                raise AdapterError(f"weight of {role} is {share}, expected a share from 0 to 1")
        total = math.fsum(weights.values())
        if abs(total - 1) > TOLERANCE:
            raise AdapterError(f"weights add up to {total:g}, expected 1: {_shown(weights)}")
        places = {role: replace(place, share=float(weights.get(role, 0.0))) for role, place in self.places.items()}
        return self._with(places)

    def mirrored(self, share: float) -> Table:
        """With a copy of this share of the requests for the canary as well."""
        if not 0 <= share <= 1:
            raise AdapterError(f"mirror is {share}, expected a share from 0 to 1")
        if share and Role.CANARY not in self.places:
            raise AdapterError("no canary to mirror to; attach it first")
        return self if share == self.mirror else replace(self, version=self.version + 1, mirror=float(share))

    @property
    def shares(self) -> dict[Role, float]:
        """Role -> share."""
        return {role: place.share for role, place in self.places.items()}

    @property
    def units(self) -> dict[Role, int]:
        """Role -> Envoy's whole-number weight, adding up to :data:`UNITS`; a share above 0 is never rounded to 0."""
        units = {role: max(1, round(share * UNITS)) for role, share in self.shares.items() if share}
        if units:
            largest = max(units, key=lambda role: units[role])
            units[largest] += UNITS - sum(units.values())
        return units

    def to_json(self) -> str:
        """The table in one line."""
        places = {
            role: {"cluster": place.cluster, "pin": place.pin, "address": place.address, "share": place.share}
            for role, place in self.places.items()
        }
        return json.dumps({"version": self.version, "mirror": self.mirror, "places": places}, separators=(",", ":"))

    @staticmethod
    def from_json(text: str | bytes) -> Table:
        """The table that :meth:`to_json` wrote; raises ValueError for anything else."""
        try:
            data: Any = json.loads(text)
            places = {Role(role): Place(**place) for role, place in data["places"].items()}
            return Table(int(data["version"]), places, float(data["mirror"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a table: {error}") from None

    def _with(self, places: Mapping[Role, Place]) -> Table:
        return replace(self, version=self.version + 1, places=dict(places))

    def _roles(self) -> str:
        return ", ".join(self.places) or "none"


def _shown(weights: Weights) -> str:
    return ", ".join(f"{role} {share:g}" for role, share in weights.items()) or "no weights"
