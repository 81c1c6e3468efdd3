"""The split: the weights of two backends of somebody's HTTPRoute, and nothing else of it."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

from pytest_canary.adapters.gateway_api import route as routes
from pytest_canary.adapters.gateway_api.lookout import Lookout
from pytest_canary.adapters.gateway_api.options import GatewayApiOptions
from pytest_canary.adapters.gateway_api.preflight import missing
from pytest_canary.adapters.kube import Changed, Cluster, Json
from pytest_canary.errors import AdapterError
from pytest_canary.ports import Fact, Replicas, Revision, Role, Shared, Weights

CONFLICT_SECONDS = 5.0
"""How long others may be quicker than we, each time."""
PAUSE_SECONDS = 0.03
LOOK_SECONDS = 0.05
KNOWN_SECONDS = 0.5
"""How long a new backend stands in the route before anything else is done."""
SUNK_IN_SECONDS = 2.0
"""How long a backend stands there with a weight of 0 before it is taken out."""
KNOWN = "route"
"""The fact that tells what the route was like before we touched it."""


class GatewayApiRouter:
    """Each role is a Service; a role's share is its weight in every rule that sends to the stable Service."""

    Options = GatewayApiOptions

    def __init__(self, options: GatewayApiOptions, shared: Shared) -> None:
        self._options, self._shared = options, shared
        self._cluster = Cluster.of(shared)
        self._namespace = options.namespace or self._cluster.namespace
        self._lookout = Lookout(options, shared, self._cluster)
        self._services: dict[Role, str] = {}
        self._unmet: set[Role] = set()
        """Roles that have never had a share: nobody can be in flight there."""
        self._before: Mapping[str, int | None] | None = None
        self._changed_at = 0.0

    @classmethod
    def connect(cls, options: GatewayApiOptions, shared: Shared) -> GatewayApiRouter:
        """The router of one target; changes nothing."""
        return cls(options, shared)

    @property
    def _stable(self) -> routes.Stable:
        return routes.Stable(self._shared.handles["workload"]["service"], self._cluster.namespace)

    def check(self) -> Sequence[str]:
        return missing(self._cluster, self._options, self._namespace, self._stable, self._until_accepted)

    def recover(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            if fact.kind == KNOWN:
                self._before = dict(fact.data["weights"])

    def start(self) -> None:
        """Nothing: the gateway serves already."""

    def stop(self) -> None:
        """Nothing: it goes on serving."""

    def _read(self) -> Json:
        found = self._cluster.get("httproutes", self._options.route, self._namespace)
        if found is None:
            raise AdapterError(
                f"HTTPRoute {self._options.route} is gone from namespace {self._namespace}; somebody deleted it"
            )
        return found

    def address(self) -> str:
        if self._options.address:
            return self._options.address.rstrip("/")
        spec = self._read()["spec"]
        names = spec.get("hostnames") or []
        if names:
            return f"http://{names[0]}"
        parent = (spec.get("parentRefs") or [{}])[0]
        return f"http://gateway-{parent.get('name', '?')}"

    # -- roles -------------------------------------------------------------------------------------------------

    def attach(self, role: Role, revision: Revision, address: str) -> None:
        labels = self._shared.handles.get("backends", {}).get(address)
        if labels is None:
            raise AdapterError(f"{revision} at {address} is no Service of this cluster")
        new = role is not Role.BASELINE and labels["service"] not in routes.strangers(self._read(), self._stable)
        self._stands(role, revision, address, labels)
        if role is Role.CANARY:
            self._lookout.post(labels)
        if new and Role.BASELINE in self._services:
            # A proxy hears of routes and of backends on two streams: one that a route sends to before it is known
            # answers 503.  So a backend stands in the route with a weight of 0 before it gets any.
            self._unmet.add(role)
            try:
                self._change(self.weights(), strictly=True)
            except AdapterError:
                self._goes(role)
                raise
            self._shared.clock.sleep(KNOWN_SECONDS)

    def _stands(self, role: Role, revision: Revision, address: str, labels: Mapping[str, str]) -> None:
        """Tell metric sources where ``role`` is: by labels, and pod by pod."""
        self._services[role] = labels["service"]
        self._shared.labels[role] = labels
        where = self._shared.handles.get("replicas", {}).get(address)
        self._shared.replicas.pop(role, None)
        if where is not None:
            self._shared.replicas[role] = Replicas(revision.key, where)

    def _goes(self, role: Role) -> None:
        self._services.pop(role, None)
        self._shared.labels.pop(role, None)
        self._shared.replicas.pop(role, None)

    def detach(self, role: Role) -> None:
        shares = dict(self.weights())
        if shares.pop(role, 0.0) > 0:
            raise AdapterError(f"the {role} still holds traffic; set its weight to 0 first")
        self._let_it_sink_in()
        self._goes(role)
        if Role.BASELINE in self._services:
            self._change(shares if math.isclose(sum(shares.values()), 1.0) else {Role.BASELINE: 1.0}, take_out=True)
        if not set(self._services) - {Role.BASELINE}:
            self._lookout.withdraw()

    def _let_it_sink_in(self) -> None:
        """A proxy may hear that a backend is gone before it hears that nobody is sent there any more."""
        left = self._changed_at + SUNK_IN_SECONDS - self._shared.clock.wall()
        if 0 < left <= SUNK_IN_SECONDS:
            self._shared.clock.sleep(left)

    def weights(self) -> Weights:
        seen = routes.shares(self._read(), self._stable, frozenset(self._services.values()))
        return {role: seen.get(service, 0.0) for role, service in self._services.items()}

    def set_weights(self, weights: Weights) -> None:
        self._check(weights)
        self._unmet -= {role for role, share in weights.items() if share > 0}
        if any(share > 0 for role, share in weights.items() if role is not Role.BASELINE):
            self._lookout.must_stand()
        self._change(weights)

    def _check(self, weights: Weights) -> None:
        unknown = [str(role) for role, share in weights.items() if role not in self._services and share]
        if unknown:
            raise AdapterError(f"no build is attached as {', '.join(unknown)}")
        if not all(0 <= share <= 1 for share in weights.values()) or not math.isclose(sum(weights.values()), 1.0):
            said = ", ".join(f"{role} {share:g}" for role, share in weights.items()) or "nothing"
            raise AdapterError(f"the weights are {said}; expected shares of 0 to 1 that add up to 1")

    # -- written -----------------------------------------------------------------------------------------------

    def _change(self, weights: Weights, *, strictly: bool = False, take_out: bool = False) -> None:
        """One conditional patch, again on top of what others have written meanwhile; then the gateway's own word.

        Where the stable build is given all traffic that word does not matter, unless it is asked for ``strictly``.
        """
        wanted = {service: weights.get(role, 0.0) for role, service in self._services.items()}
        old, new = self._write(wanted, take_out=take_out)
        self._changed_at = self._shared.clock.wall()
        said = self._until_accepted(new["metadata"]["generation"])
        if said and (strictly or weights.get(Role.BASELINE, 0.0) < 1.0):
            if new is not old:
                self._write(self._shares_of(old), take_out=True)
            raise AdapterError(
                f"HTTPRoute {self._options.route} was changed, and after {self._options.settle_seconds:g} s {said}; "
                f"the old weights are back; see `kubectl -n {self._namespace} describe httproute {self._options.route}`"
            )

    def _write(self, wanted: Mapping[str, float], *, take_out: bool) -> tuple[Json, Json]:
        """Give each Service in ``wanted`` its share; return the route before and after, which may be the same.

        Copies that nobody has attached, which a dead run has left, get a weight of 0; they go when they are taken out.
        """
        clock = self._shared.clock
        until = clock.now() + CONFLICT_SECONDS
        while True:
            old = self._read()
            self._remember(old)
            left = self._own - set(wanted)
            shares = (
                wanted if take_out else {**dict.fromkeys(left & routes.strangers(old, self._stable), 0.0), **wanted}
            )
            patch = routes.patch(old, self._stable, shares, left if take_out else frozenset(), self._before or {})
            if not patch:
                return old, old
            try:
                return old, self._cluster.patch("httproutes", self._options.route, patch, self._namespace)
            except Changed:
                if clock.now() >= until:
                    raise
                clock.sleep(random.uniform(0, PAUSE_SECONDS))

    @property
    def _own(self) -> frozenset[str]:
        """What the Services of our copies are called, whether they are there or not."""
        workload = self._shared.handles["workload"]
        named = {workload[role] for role in (Role.CANARY, Role.CONTROL) if role in workload}
        return frozenset(named | set(self._services.values())) - {self._stable.service}

    def _shares_of(self, route: Json) -> Mapping[str, float]:
        alone = {self._stable.service: 1.0}
        try:
            seen = routes.shares(route, self._stable, frozenset(self._services.values()))
        except AdapterError:
            return alone
        return seen if math.isclose(sum(seen.values()), 1.0) else alone

    def _remember(self, route: Json) -> None:
        if self._before is None:
            self._before = routes.own_weights(route, self._stable, self._own)
            self._shared.note(KNOWN, weights=self._before)

    def _until_accepted(self, generation: int) -> str:
        clock = self._shared.clock
        until = clock.now() + self._options.settle_seconds
        while (said := routes.accepted(self._read(), generation)) and clock.now() < until:
            clock.sleep(LOOK_SECONDS)
        return said

    # -- asked -------------------------------------------------------------------------------------------------

    def in_flight(self, role: Role) -> int:
        """Raises AdapterError as long as the metric source has not looked since the last shift, or never does."""
        if role not in self._services or role in self._unmet:
            return 0
        ask = self._shared.handles.get("in_flight")
        if ask is None:
            raise AdapterError("the metric source of this target does not count requests in flight")
        return int(ask(role, self._changed_at))

    def mirror(self, share: float) -> None:
        if not 0 <= share <= 1:
            raise AdapterError(f"a mirror of {share:g} makes no sense, expected 0 to 1")
        if share:
            raise AdapterError("mirroring through an HTTPRoute is not supported yet")
