"""An HTTPRoute as data: who is ours, which shares, and the patch."""

from __future__ import annotations

import pytest

from pytest_canary.adapters.gateway_api import route as routes
from pytest_canary.errors import AdapterError
from tests.kubernetes.place import one_line

SHOP = routes.Stable("shop", "prod")
OURS = frozenset({"shop-canary"})


def ref(name, **more):
    """A backend."""
    return {"name": name, "port": 80, **more}


def route(*rules, namespace="prod", **status):
    """With these backends in each rule."""
    about = {"name": "shop", "namespace": namespace, "resourceVersion": "7", "generation": 3}
    spec = {"rules": [{"backendRefs": list(rule)} for rule in rules], "parentRefs": [{"name": "gw"}]}
    return {"metadata": about, "spec": spec, "status": status}


def shifted(here, canary, before=None, gone=frozenset()):
    """The rules after a shift."""
    wanted = {"shop": 1 - canary, "shop-canary": canary} if canary is not None else {"shop": 1.0}
    new = [rule["backendRefs"] for rule in here["spec"]["rules"]]
    known = routes.own_weights(here, SHOP, frozenset()) if before is None else before
    for one in routes.patch(here, SHOP, wanted, gone, known):
        if one["path"].startswith("/spec"):
            new[int(one["path"].split("/")[3])] = one["value"]
    return new


def weights(refs):
    """(name, weight) of each backend."""
    return [(one["name"], one.get("weight")) for one in refs]


def test_every_rule_that_sends_to_the_stable_service_is_split_alike():
    """And no other."""
    here = route([ref("shop")], [ref("other")], [ref("shop", weight=3)])

    assert [weights(rule) for rule in shifted(here, 0.05)] == [
        [("shop", 95), ("shop-canary", 5)],
        [("other", None)],
        [("shop", 95), ("shop-canary", 5)],
    ]


def test_the_new_backend_has_what_the_stable_one_has():
    """Its filters too."""
    filters = [{"type": "RequestHeaderModifier"}]
    [rule] = shifted(route([ref("shop", filters=filters, weight=9)]), 0.1)

    assert rule[1] == ref("shop-canary", filters=filters, weight=10)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.05, (95, 5)), (0.005, (995, 5)), (0.0005, (9995, 5)), (1 / 3, (67, 33)), (0.0, (100, 0)), (1.0, (0, 100))],
)
def test_weights_have_as_few_digits_as_a_share_takes(share, expected):
    """People read routes."""
    [rule] = shifted(route([ref("shop")]), share)

    assert tuple(one["weight"] for one in rule) == expected


def test_other_backends_keep_their_share_of_all():
    """A user's own split between two builds is theirs."""
    [rule] = shifted(route([ref("shop", weight=900), ref("mine", weight=100)]), 0.1)

    assert weights(rule) == [("shop", 810), ("mine", 100), ("shop-canary", 90)]


def test_too_small_a_weight_beside_another_backend_is_said():
    """Weights are whole numbers, and those of others are not ours to change."""
    with pytest.raises(AdapterError) as error:
        shifted(route([ref("shop", weight=9), ref("mine", weight=1)]), 0.05)

    assert one_line(error.value, "rule 1 of HTTPRoute shop", "a weight of 9", "a hundred times as large")


@pytest.mark.parametrize("weight", [None, 0, 1, 7, 100])
def test_alone_again_is_as_before_to_the_letter(weight):
    """Where no weight was written none is left."""
    alone = ref("shop") if weight is None else ref("shop", weight=weight)
    split = route(shifted(route([alone]), 0.25)[0])

    assert shifted(split, None, {"0": weight}, OURS) == [[alone]]


def test_a_rule_that_came_later_keeps_the_weight_that_it_came_with():
    """Nobody remembers it from before."""
    here = route([ref("new")], [ref("shop", weight=40), ref("mine", weight=60)])

    assert shifted(here, None, {"0": None}) == [rule["backendRefs"] for rule in here["spec"]["rules"]]
    split = route([ref("new")], shifted(here, 0.25, {"0": None})[1])
    assert weights(split["spec"]["rules"][1]["backendRefs"]) == [("shop", 30), ("mine", 60), ("shop-canary", 10)]
    assert weights(shifted(split, None, {"0": None}, OURS)[1]) == [("shop", 40), ("mine", 60)]


def test_a_rule_that_sends_nobody_to_the_stable_service_says_nothing():
    """A prepared backend with weight 0 is not a split of its own."""
    here = route([ref("shop")], [ref("shop", weight=0), ref("mine", weight=10)])

    assert routes.shares(here, SHOP, OURS) == {"shop": 1.0}
    assert weights(shifted(here, 0.1)[1]) == [("shop", 0), ("mine", 10), ("shop-canary", 0)]


def test_rules_that_somebody_split_differently_are_no_share():
    """A made-up number would be believed."""
    here = route([ref("shop", weight=1), ref("shop-canary", weight=1)], [ref("shop"), ref("shop-canary", weight=3)])
    with pytest.raises(AdapterError, match="split differently"):
        routes.shares(here, SHOP, OURS)


def test_a_service_of_another_namespace_is_another_service():
    """Though it has the same name."""
    here = route([ref("shop", weight=5), ref("shop", namespace="test", weight=5)])
    [rule] = shifted(here, 0.2)

    assert [(one["name"], one.get("namespace"), one["weight"]) for one in rule] == [
        ("shop", None, 4),
        ("shop", "test", 5),
        ("shop-canary", None, 1),
    ]
    assert routes.shares(here, SHOP, OURS) == {"shop": 1.0}


def test_a_route_in_another_namespace_names_ours():
    """A gateway's own namespace has all the routes, in some places."""
    here = route([ref("shop", namespace="prod")], namespace="gateways")
    [rule] = shifted(here, 0.5)

    assert rule[1] == ref("shop-canary", namespace="prod", weight=50)
    assert list(routes.rules(route([ref("shop")], namespace="gateways"), SHOP)) == []


def test_a_backend_that_is_no_service_is_not_ours():
    """An InferencePool may have any name."""
    here = route([ref("shop", kind="InferencePool", group="inference.networking.k8s.io")])

    assert list(routes.rules(here, SHOP)) == []


def test_a_patch_holds_for_what_was_read_and_is_empty_where_nothing_changes():
    """Somebody else's change in between is not overwritten."""
    here = route([ref("shop", weight=90), ref("shop-canary", weight=10)])
    patch = routes.patch(here, SHOP, {"shop": 0.5, "shop-canary": 0.5}, frozenset(), {})

    assert patch[0] == {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"}
    assert routes.patch(here, SHOP, {"shop": 0.9, "shop-canary": 0.1}, frozenset(), {}) == []


def condition(kind, status="True", generation=3):
    """What a gateway says."""
    return {"type": kind, "status": status, "observedGeneration": generation, "reason": "R", "message": "why"}


GOOD = [condition("Accepted"), condition("ResolvedRefs")]


@pytest.mark.parametrize(
    ("parents", "said"),
    [
        ([], "gateway gw has not looked at it"),
        ([("gw", GOOD)], ""),
        ([("gw", [condition("Accepted", generation=2), condition("ResolvedRefs")])], "Accepted is not decided yet"),
        ([("gw", [condition("Accepted")])], "ResolvedRefs is not decided yet"),
        ([("gw", [condition("Accepted"), condition("ResolvedRefs", "False")])], "ResolvedRefs is False: R, why"),
        ([("gw", [condition("Accepted", "False"), condition("ResolvedRefs")])], "Accepted is False"),
        ([("old", [condition("Accepted", "False")]), ("gw", GOOD)], ""),
        ([("old", GOOD)], "gateway gw has not looked at it"),
        ([("gw", [condition("Accepted", "False")]), ("gw", GOOD)], ""),
    ],
    ids=["nobody", "good", "older", "half", "no backend", "refused", "stale parent", "only stale", "two controllers"],
)
def test_only_the_gateways_that_the_route_names_are_listened_to(parents, said):
    """Both conditions, of this generation; a gateway that it has left keeps its last word for ever."""
    told = [{"parentRef": {"name": name}, "conditions": conditions} for name, conditions in parents]
    answer = routes.accepted(route([ref("shop")], parents=told), 3)

    assert said in answer
    assert bool(answer) == bool(said)
