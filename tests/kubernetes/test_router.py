"""Weights of an HTTPRoute: the contract of a router, on a cluster, and that nothing else of the route is touched."""

from __future__ import annotations

import time

import pytest

from pytest_canary.adapters.gateway_api import GatewayApiRouter
from pytest_canary.errors import AdapterError
from pytest_canary.ports import Fact, Role
from tests.adapters.contracts import NOWHERE, RouterContract
from tests.kubernetes.place import attached, but, one_line, until

HALF = {Role.BASELINE: 0.5, Role.CANARY: 0.5}


class _AtRoles(GatewayApiRouter):
    """The contract attaches both builds at one address; here each role has a Service of its own."""

    def attach(self, role, revision, address):
        super().attach(role, revision, role if address == NOWHERE else address)


class TestGatewayApiRouter(RouterContract):
    """What a router promises."""

    @pytest.fixture(autouse=True)
    def _here(self, place):
        """A route as it was, and a Service beside the stable one."""
        self.place = place
        with place.as_it_was("httproute"):
            yield
        place.clear()

    def connect(self, shared):
        """On the route of the module; who counts what is in flight has counted nothing."""
        self.place.platform(shared)
        for role, service in ((Role.BASELINE, self.place.name), (Role.CANARY, f"{self.place.name}-canary")):
            shared.handles["backends"][role] = {"service": service, "deployment": service}
        shared.handles["in_flight"] = lambda *_: 0
        options = GatewayApiRouter.Options(route=self.place.name, guard=None, settle_seconds=3)
        return _AtRoles.connect(options, shared)

    @pytest.fixture
    def adapter(self, bench):
        """The canary's Service is there before its weight, as in a rollout."""
        service = self.place.get("service", self.place.name)["spec"]
        body = {"spec": {"ports": service["ports"], "selector": service["selector"]}}
        about = {"name": f"{self.place.name}-canary", "namespace": self.place.namespace}
        marked = {**about, "labels": {"pytest-canary/rollout": self.place.name}}
        self.place.cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": marked, **body})
        shared = bench.shared()
        router = self.connect(shared)
        yield router
        router.stop()
        shared.handles["kubernetes"].close()

    def test_mirroring_changes_no_weight(self, both):
        """A copy of a request would be sent by a filter of the route, which is the user's: refused in one line."""
        both.mirror(0.0)
        with pytest.raises(AdapterError, match="not supported"):
            both.mirror(0.1)

        assert both.weights() == {Role.BASELINE: 1.0, Role.CANARY: 0.0}


@pytest.fixture(scope="module")
def shipped(place, tmp_path_factory):
    """A canary that runs, for all tests of this module."""
    platform = place.platform(place.shared(tmp_path_factory.mktemp("state")))
    platform.start()
    revision = place.deployed(platform)
    yield platform, revision
    platform.stop()


@pytest.fixture
def world(place, shipped, tmp_path):
    """A platform with a canary, and whoever connects to the same."""
    shared = place.shared(tmp_path)
    platform = place.platform(shared)
    if not place.pods():  # the contract's tests clear away
        place.deployed(platform)
    with place.as_it_was("httproute"):
        yield platform, shipped[1], shared
    platform.stop()
    place.facts.clear()


def routed(place, rules):
    """Give the route these rules, and wait until the gateway has them."""
    place.patch("httproute", {"spec": {"rules": rules}})


def ref(name, **more):
    """A backend."""
    return {"group": "", "kind": "Service", "name": name, "port": 80, **more}


def test_a_whole_cycle_leaves_the_route_byte_for_byte(place, world):
    """Filters, matches, other backends, labels: before, meanwhile and after."""
    platform, canary, shared = world
    redirected = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-a", "value": "b"}]}}
    rules = [
        {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": [ref(place.name)]},
        {
            "matches": [{"path": {"type": "PathPrefix", "value": "/split"}}],
            "filters": [redirected],
            "backendRefs": [ref(place.name, weight=9000), ref("elsewhere", weight=1000)],
        },
        {"matches": [{"path": {"type": "PathPrefix", "value": "/else"}}], "backendRefs": [ref("elsewhere", weight=1)]},
    ]
    place.kubectl("create", "service", "clusterip", "elsewhere", "--tcp=80")
    routed(place, rules)
    before = place.route()
    router = place.router(shared)
    attached(router, platform, canary)
    router.set_weights({Role.BASELINE: 0.95, Role.CANARY: 0.05})
    during = place.route()
    router.set_weights({Role.BASELINE: 1.0})
    router.detach(Role.CANARY)
    after = place.route()
    place.kubectl("delete", "service", "elsewhere")

    weights = [[(one["name"], one["weight"]) for one in rule["backendRefs"]] for rule in during["spec"]["rules"]]
    assert weights == [
        [(place.name, 95), (f"{place.name}-canary", 5)],
        [(place.name, 8550), ("elsewhere", 1000), (f"{place.name}-canary", 450)],
        [("elsewhere", 1)],
    ]

    def unweighted(spec):
        return [{**rule, "backendRefs": None} for rule in spec["rules"]], {**spec, "rules": None}

    assert unweighted(during["spec"]) == unweighted(before["spec"])
    assert after["spec"] == before["spec"]
    assert after["metadata"].get("annotations") == before["metadata"].get("annotations")


def test_requests_follow_the_weights(place, world):
    """Accepted is not served: they are asked."""
    platform, canary, shared = world
    router = place.router(shared)
    attached(router, platform, canary)
    router.set_weights({Role.CANARY: 1.0})

    until(lambda: all(b"6.9.1" in place.service.ask("/")[1] for _ in range(10)))
    router.set_weights({Role.BASELINE: 1.0})
    until(lambda: all(b"6.9.0" in place.service.ask("/")[1] for _ in range(10)))


def test_two_writers_and_neither_is_lost(place, world):
    """Somebody annotates the route all the time while the weights move."""
    platform, canary, shared = world
    router = place.router(shared)
    attached(router, platform, canary)
    with place.meddled("httproutes") as times:
        for share in (0.05, 0.25, 0.5, 1.0, 0.0):
            router.set_weights({Role.BASELINE: 1 - share, Role.CANARY: share})
            assert router.weights()[Role.CANARY] == pytest.approx(share)
        annotated = place.route()["metadata"]["annotations"]

    assert times[0] > 5
    assert annotated["someone/was-here"]


def test_a_change_that_the_gateway_refuses_leaves_the_old_weights(place, world):
    """Here a Service has gone, so the route would send users nowhere."""
    platform, canary, shared = world
    router = place.router(shared, settle_seconds=2)
    attached(router, platform, canary)
    router.set_weights({Role.BASELINE: 0.9, Role.CANARY: 0.1})
    shared.handles["backends"]["gone"] = {"service": f"{place.name}-gone", "deployment": "gone"}
    place.kubectl("create", "service", "clusterip", f"{place.name}-gone", "--tcp=80")
    router.attach(Role.CONTROL, canary, "gone")
    place.kubectl("delete", "service", f"{place.name}-gone")
    began = time.monotonic()
    with pytest.raises(AdapterError) as error:
        router.set_weights({Role.BASELINE: 0.5, Role.CANARY: 0.25, Role.CONTROL: 0.25})

    assert one_line(error.value, "ResolvedRefs is False", "the old weights are back", "kubectl -n")
    assert time.monotonic() - began < 5
    assert place.weights() == {place.name: 90, f"{place.name}-canary": 10, f"{place.name}-gone": 0}


def test_a_backend_that_the_gateway_refuses_is_not_attached(place, world):
    """Said before anybody is sent there; the route is as it was."""
    platform, canary, shared = world
    router = place.router(shared, settle_seconds=0.5)
    router.attach(Role.BASELINE, platform.stable(), platform.address(platform.stable()))
    router.set_weights({Role.BASELINE: 1.0})
    before = place.route()["spec"]
    shared.handles["backends"]["none"] = {"service": f"{place.name}-none", "deployment": "none"}
    with pytest.raises(AdapterError, match="ResolvedRefs is False"):
        router.attach(Role.CANARY, canary, "none")

    assert router.weights() == {Role.BASELINE: 1.0}
    assert place.route()["spec"] == before


def test_a_cut_is_never_refused(place, world):
    """A gateway that does not answer must not keep users on a bad build."""
    platform, canary, shared = world
    router = place.router(shared, settle_seconds=0.5)
    attached(router, platform, canary)
    router.set_weights(HALF)
    place.patch("httproute", {"spec": {"parentRefs": [{"name": "nobody"}]}})
    with pytest.raises(AdapterError, match="gateway nobody has not looked at it"):
        router.set_weights({Role.BASELINE: 0.25, Role.CANARY: 0.75})
    router.set_weights({Role.BASELINE: 1.0})

    assert place.weights() == {place.name: 100, f"{place.name}-canary": 0}


def test_a_control_that_leaves_takes_no_traffic_from_the_canary(place, world):
    """It goes while the canary has everything, before the stable build is started anew."""
    platform, canary, shared = world
    router = place.router(shared)
    attached(router, platform, canary)
    place.kubectl("create", "service", "clusterip", f"{place.name}-control", "--tcp=80")
    shared.handles["backends"]["control"] = {"service": f"{place.name}-control", "deployment": "control"}
    router.attach(Role.CONTROL, platform.stable(), "control")
    router.set_weights({Role.CANARY: 1.0})
    router.detach(Role.CONTROL)
    place.kubectl("delete", "service", f"{place.name}-control")

    assert router.weights() == {Role.BASELINE: 0.0, Role.CANARY: 1.0}
    assert place.weights() == {place.name: 0, f"{place.name}-canary": 100}


def test_what_a_dead_run_left_in_the_route_is_taken_out(place, world, tmp_path):
    """Another process knows from the facts what the weight was, and our Services by their names."""
    platform, canary, shared = world
    routed(place, [{"backendRefs": [ref(place.name, weight=7)]}])
    router = place.router(shared)
    attached(router, platform, canary)
    router.set_weights(HALF)
    second = place.shared(tmp_path)
    other = place.platform(second)
    router = place.router(second)
    router.recover([Fact("route", 1.0, dict(fact.data)) for fact in place.facts if fact.kind == "route"])
    router.attach(Role.BASELINE, other.stable(), other.address(other.stable()))
    router.set_weights({Role.BASELINE: 1.0})
    router.detach(Role.CANARY)
    other.stop()

    assert place.weights() == {place.name: 7}


def test_a_backend_whose_service_has_gone_is_not_ours_to_take_out(place, world):
    """Whoever put it into the route knows why; only what is called like our copies is ours."""
    platform, canary, shared = world
    place.kubectl("create", "service", "clusterip", "theirs", "--tcp=80")
    routed(place, [{"backendRefs": [ref(place.name, weight=1), ref("theirs", weight=0)]}])
    before = place.route()["spec"]
    router = place.router(shared, settle_seconds=3)
    attached(router, platform, canary)
    place.kubectl("delete", "service", "theirs")
    router.set_weights({Role.BASELINE: 1.0})
    router.detach(Role.CANARY)

    assert place.route()["spec"] == before


def test_what_somebody_changes_meanwhile_is_kept(place, world):
    """Another rule, and another weight of theirs in ours."""
    platform, canary, shared = world
    place.kubectl("create", "service", "clusterip", "mine", "--tcp=80")
    routed(place, [{"backendRefs": [ref(place.name, weight=900), ref("mine", weight=100)]}])
    router = place.router(shared)
    attached(router, platform, canary)
    router.set_weights(HALF)
    rules = place.route()["spec"]["rules"]
    changed = but(rules, lambda new: new[0]["backendRefs"][1].update(weight=200))
    more = {"matches": [{"path": {"type": "PathPrefix", "value": "/new"}}], "backendRefs": [ref("mine", weight=1)]}
    routed(place, [*changed, more])
    router.set_weights({Role.BASELINE: 1.0})
    router.detach(Role.CANARY)
    after = place.weights()
    place.kubectl("delete", "service", "mine")

    assert after == {place.name: 900, "mine": 200}
    assert len(place.route()["spec"]["rules"]) == 2


def test_users_enter_where_the_route_says(place, world):
    """Or where the target says."""
    assert place.router(world[2]).address() == f"http://{place.service.host}"
    assert place.router(world[2], address="http://10.0.0.1/").address() == "http://10.0.0.1"
