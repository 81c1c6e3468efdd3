"""An HTTPRoute as data: which of its backends are ours, their shares, and the patch that changes nothing else."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pytest_canary.adapters.kube import Json
from pytest_canary.errors import AdapterError

TOTALS = (100, 1000, 10_000)
"""What weights add up to: as few digits as the shares take."""
ROUNDING = 0.02
"""How far a share may be off, of itself, where other backends leave only whole numbers."""


@dataclass(frozen=True, slots=True)
class Stable:
    """The Service that users are sent to between rollouts, as a backendRef names it."""

    service: str
    namespace: str

    def named_by(self, ref: Json, namespace: str) -> bool:
        """Whether ``ref`` of a route in ``namespace`` means it."""
        return self.service == ref.get("name") and self._alike(ref, namespace)

    def beside(self, ref: Json, name: str, namespace: str) -> bool:
        """Whether ``ref`` means another Service, ``name``, of the same namespace."""
        return name == ref.get("name") and self._alike(ref, namespace)

    def _alike(self, ref: Json, namespace: str) -> bool:
        is_service = ref.get("kind", "Service") == "Service" and not ref.get("group")
        return is_service and ref.get("namespace", namespace) == self.namespace


def rules(route: Json, stable: Stable) -> Iterator[tuple[int, list[Json]]]:
    """Every rule that sends to the stable Service: its place, and its backendRefs."""
    namespace = route["metadata"]["namespace"]
    for place, rule in enumerate(route["spec"].get("rules") or []):
        refs = rule.get("backendRefs") or []
        if any(stable.named_by(ref, namespace) for ref in refs):
            yield place, refs


def strangers(route: Json, stable: Stable) -> set[str]:
    """Services of the same namespace that stand beside the stable one in some rule."""
    namespace = route["metadata"]["namespace"]
    beside = set()
    for _, refs in rules(route, stable):
        names = {str(ref.get("name")) for ref in refs if stable.beside(ref, str(ref.get("name")), namespace)}
        beside |= names - {stable.service}
    return beside


def own_weights(route: Json, stable: Stable, copies: frozenset[str]) -> dict[str, int | None]:
    """The weight of the stable Service in each rule that sends to it, None where none is written.

    Where ``copies`` of it stand beside it, left by a run that nobody knows of, what they all have together was its own.
    """
    namespace, found = route["metadata"]["namespace"], dict[str, int | None]()
    for place, refs in rules(route, stable):
        own = next(ref.get("weight") for ref in refs if stable.named_by(ref, namespace))
        beside = [ref.get("weight", 1) for ref in _mine(refs, stable, {*copies}, namespace)]
        found[str(place)] = (1 if own is None else own) + sum(beside) if beside else own
    return found


def shares(route: Json, stable: Stable, ours: frozenset[str]) -> dict[str, float]:
    """Service -> its share among ``ours`` and the stable one.  Rules that send nobody to any of them do not count.

    Raises:
        AdapterError: two rules say different things.

    """
    namespace, found = route["metadata"]["namespace"], list[dict[str, float]]()
    for _, refs in rules(route, stable):
        weights = {ref["name"]: ref.get("weight", 1) for ref in _mine(refs, stable, {stable.service, *ours}, namespace)}
        total = sum(weights.values())
        found.append({name: weight / total if total else 0.0 for name, weight in weights.items()})
    found = [one for one in found if any(one.values())] or found[:1]
    if any(abs(one.get(name, 0.0) - found[0].get(name, 0.0)) > 0.01 for one in found for name in {*one, *found[0]}):
        raise AdapterError(f"the rules of HTTPRoute {route['metadata']['name']} split differently: {found}")
    return found[0] if found else {}


def _mine(refs: list[Json], stable: Stable, names: set[str], namespace: str) -> list[Json]:
    return [ref for ref in refs if ref.get("name") in names and stable.beside(ref, str(ref.get("name")), namespace)]


def patch(
    route: Json, stable: Stable, wanted: Mapping[str, float], gone: frozenset[str], before: Mapping[str, int | None]
) -> list[Json]:
    """The JSON patch that gives each Service in ``wanted`` its share and takes those in ``gone`` out.

    It holds only on top of the very ``route`` that was read.  Where the stable Service is alone again its weight is
    what it was ``before``, to the letter.  Empty when nothing has to change.

    Raises:
        AdapterError: another backend of a rule leaves no room for such a share.

    """
    operations = list[Json]()
    for place, refs in rules(route, stable):
        new = _split(route, place, refs, stable, wanted, gone, before)
        if new != refs:
            operations.append({"op": "replace", "path": f"/spec/rules/{place}/backendRefs", "value": new})
    if not operations:
        return []
    version = route["metadata"]["resourceVersion"]
    return [{"op": "replace", "path": "/metadata/resourceVersion", "value": version}, *operations]


def _split(
    route: Json,
    place: int,
    refs: list[Json],
    stable: Stable,
    wanted: Mapping[str, float],
    gone: frozenset[str],
    before: Mapping[str, int | None],
) -> list[Json]:
    namespace = route["metadata"]["namespace"]
    mine = next(ref for ref in refs if stable.named_by(ref, namespace))
    ours = _mine(refs, stable, {*wanted, *gone, stable.service}, namespace)
    total = sum(ref.get("weight", 1) for ref in ours)
    others = any(ref.get("weight", 1) > 0 for ref in refs if ref not in ours)
    where = f"rule {place + 1} of HTTPRoute {route['metadata']['name']}"
    weights: dict[str, int | None] = {**_weights(wanted, total if others else None, where)}
    if set(wanted) <= {stable.service}:
        weights = {stable.service: _alone(mine, len(ours), total, others, before, str(place))}
    new = list[Json]()
    for ref in refs:
        name = str(ref.get("name"))
        if name in gone and stable.beside(ref, name, namespace):
            continue
        if name in wanted and stable.beside(ref, name, namespace):
            ref = {**ref, "weight": weights[name]}
            if ref["weight"] is None:
                del ref["weight"]
        new.append(ref)
    there = {ref.get("name") for ref in new}
    new += [{**copy.deepcopy(mine), "name": name, "weight": weights[name]} for name in wanted if name not in there]
    return new


def _alone(mine: Json, ours: int, total: int, others: bool, before: Mapping[str, int | None], place: str) -> int | None:
    """The weight of the stable Service where it is alone again: what it was, unless somebody has changed it since."""
    was = before.get(place)
    if place in before and (not others or total == (1 if was is None else was)):
        return was
    return mine.get("weight") if ours == 1 else total


def _weights(wanted: Mapping[str, float], whole: int | None, where: str) -> dict[str, int]:
    """Whole numbers in the proportions of ``wanted`` that add up to ``whole``, or to the smallest total that does."""
    for total in TOTALS if whole is None else (whole,):
        weights = {name: round(total * share) for name, share in wanted.items()}
        exact = all(abs(weights[name] - total * share) <= ROUNDING * total * share for name, share in wanted.items())
        if exact and sum(weights.values()) == total:
            return weights
    if whole is None:
        rest = {name: round(TOTALS[-1] * share) for name, share in wanted.items()}
        largest = max(rest, key=rest.__getitem__)
        return {**rest, largest: rest[largest] + TOTALS[-1] - sum(rest.values())}
    raise AdapterError(
        f"{where} sends to other backends too and leaves a weight of {whole} to share out, too little for "
        f"{', '.join(f'{share:.1%}' for share in wanted.values())}; write all its weights a hundred times as large"
    )


def accepted(route: Json, generation: int) -> str:
    """What a gateway has to say against this ``generation`` of the route; empty once it has accepted all of it.

    Only the statuses of parents that the route names now count: those of others stay behind when it moves.
    """
    parents = (route.get("status") or {}).get("parents") or []
    said = "no gateway has looked at it"
    for wanted in route["spec"].get("parentRefs") or []:
        mine = [one for one in parents if _same(one.get("parentRef") or {}, wanted, route["metadata"]["namespace"])]
        told = [_against(one, generation) for one in mine]
        if not told:
            return f"gateway {wanted.get('name')} has not looked at it"
        if "" not in told:
            return f"gateway {wanted.get('name')}: {told[0]}"
        said = ""
    return said


def _same(one: Json, other: Json, namespace: str) -> bool:
    keys = ("name", "sectionName", "port")
    return one.get("namespace", namespace) == other.get("namespace", namespace) and all(
        one.get(key) == other.get(key) for key in keys
    )


def _against(parent: Json, generation: int) -> str:
    conditions = {one["type"]: one for one in parent.get("conditions") or []}
    for kind in ("Accepted", "ResolvedRefs"):
        condition = conditions.get(kind)
        if condition is None or condition.get("observedGeneration", 0) < generation:
            return f"{kind} is not decided yet"
        if condition.get("status") != "True":
            return f"{kind} is {condition.get('status')}: {condition.get('reason')}, {condition.get('message')}"
    return ""
