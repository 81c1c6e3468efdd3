"""Deployments as revisions: the contract of a platform, on a cluster, and what a promotion does to a Deployment."""

from __future__ import annotations

import pytest

from pytest_canary.errors import AdapterError
from pytest_canary.ports import Change, Fact, Revision
from tests.adapters.contracts import Bench, PlatformContract
from tests.kubernetes.place import OTHER, STABLE, but, template, until


class TestKubernetesPlatform(PlatformContract):
    """What a platform promises; this one is lasting, so some of it reads differently."""

    @pytest.fixture(autouse=True)
    def _here(self, place):
        """The service on which each test begins, without copies and promotions."""
        self.place = place
        self.image, self.stable_image = place.image(OTHER), place.image(STABLE)
        self.missing_image = place.image("podinfo:missing")
        with place.as_it_was("deployment"):
            yield
            place.clear()

    def connect(self, shared):
        """Asked in the namespace of the module."""
        return self.place.platform(shared)

    @pytest.fixture
    def adapter(self, bench: Bench):
        """As the contract has it; every other connection is the test's to end."""
        adapter = self.connect(bench.shared())
        yield adapter
        adapter.stop()

    def test_promotion_makes_the_canary_stable_and_stops_nothing(self, platform, canary):
        """The stable Deployment begins anew with the build, while the canary's own pods serve on."""
        promoted = platform.promote(canary)

        assert promoted.pin == canary.pin == platform.stable().pin
        assert promoted.key != canary.key
        assert platform.ready(canary).ready
        until(lambda: platform.ready(promoted).ready)

    def test_another_process_knows_what_was_promoted(self, platform, canary, bench):
        """The fact of it is the rollout's to write; what a run before wrote is what is recovered."""
        stable = platform.promote(canary)
        second = self.connect(bench.shared())
        second.recover([Fact("stable", 1.0, stable.to_data())])
        try:
            assert second.stable().pin == canary.pin
        finally:
            second.stop()

    def test_a_stopped_world_runs_nothing_and_begins_anew(self, platform, canary, bench):
        """It does not: what runs serves users between rollouts, so that stopping is letting go of it."""
        stable = platform.promote(canary)
        until(lambda: platform.ready(stable).ready)
        platform.remove(canary)
        platform.stop()
        second = self.connect(bench.shared())
        try:
            assert second.stable().pin == canary.pin
            assert second.ready(second.stable()).ready
        finally:
            second.stop()


def test_a_promotion_changes_one_image_and_is_undone_to_the_letter(place, platform):
    """Whoever looks at the Deployment afterwards sees what it was, and nothing of ours."""
    before = place.get("deployment", place.name)
    old, canary = platform.stable(), place.deployed(platform)
    platform.promote(canary)
    promoted = place.get("deployment", place.name)
    platform.promote(old)
    after = place.get("deployment", place.name)

    image = template(promoted)["spec"]["containers"][0]["image"]
    assert image.endswith(f"podinfo:6.9.1@{canary.digest}")
    assert template(promoted) == but(template(before), lambda new: new["spec"]["containers"][0].update(image=image))
    assert template(after) == template(before)
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert {key for key in after["metadata"]["annotations"] if "canary" in key} == set()
    assert platform.stable().key == old.key


def test_configuration_alone_is_promoted_once_however_often_that_is_said(place, platform):
    """A recovery repeats what it cannot know to have been done; arguments are not added again."""
    change = Change(env=(("PODINFO_UI_MESSAGE", "hello"),), args=("--level=debug",))
    with place.as_it_was("deployment"):
        canary = place.deployed(platform, STABLE, change)
        for _ in range(2):
            stable = platform.promote(canary)
        container = template(place.get("deployment", place.name))["spec"]["containers"][0]
        until(lambda: platform.ready(stable).ready)

        assert container["args"] == ["--level=debug"]
        assert container["env"] == [{"name": "PODINFO_UI_MESSAGE", "value": "hello"}]
        assert platform.stable().pin == canary.pin
        place.patch("deployment", [{"op": "remove", "path": "/spec/template/spec/containers/0/args"}], by="json")
        assert platform._workload.revision().change == Change()


@pytest.mark.parametrize("again", [False, True], ids=["once", "after a second kill"])
def test_a_kill_in_a_promotion_is_put_back_by_whoever_comes_next(place, platform, tmp_path, again):
    """Between `promoting` and `stable` nobody has seen the new pods serve."""
    before = template(place.get("deployment", place.name))
    old, canary = platform.stable(), place.deployed(platform)
    facts = [Fact("deploy", 1.0, {"stable": old.to_data(), "canary": canary.to_data()})]
    platform.promote(canary)
    for _ in range(2 if again else 1):
        second = place.platform(place.shared(tmp_path))
        second.recover(facts)
        second.start()
        stable = second.stable()
        second.stop()

    assert stable.key == old.key
    assert template(place.get("deployment", place.name)) == before
    pods = place.get("pods", "-l", f"app={place.name}")["items"]
    ours = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    assert {pod["spec"]["containers"][0]["image"] for pod in ours} == {before["spec"]["containers"][0]["image"]}


def test_what_was_proven_stays_after_a_kill(place, platform, tmp_path):
    """The fact `stable` is written first where somebody asked to go back, so recovering means going on."""
    with place.as_it_was("deployment"):
        old, canary = platform.stable(), place.deployed(platform)
        there = Revision(canary.image, canary.digest, canary.change, place="stable")
        second = place.platform(place.shared(tmp_path))
        second.recover(
            [
                Fact("deploy", 1.0, {"stable": old.to_data(), "canary": canary.to_data()}),
                Fact("stable", 2.0, there.to_data()),
            ]
        )
        second.start()
        image = template(place.get("deployment", place.name))["spec"]["containers"][0]["image"]
        second.stop()

        assert image.endswith(canary.digest)


def test_what_somebody_else_deployed_meanwhile_is_not_undone(place, platform, tmp_path):
    """A hotfix in the middle of a rollout that was killed is theirs."""
    with place.as_it_was("deployment"):
        old, canary = platform.stable(), place.deployed(platform)
        place.kubectl("set", "image", f"deployment/{place.name}", f"{place.name}={place.image('podinfo:6.9.1')}")
        second = place.platform(place.shared(tmp_path))
        second.recover([Fact("deploy", 1.0, {"stable": old.to_data(), "canary": canary.to_data()})])
        second.start()
        second.stop()

        assert template(place.get("deployment", place.name))["spec"]["containers"][0]["image"].endswith(":6.9.1")


def test_a_promotion_gets_through_while_others_write(place, platform):
    """Conditional on what was read, and again until it is in."""
    with place.as_it_was("deployment"), place.meddled("deployments") as times:
        canary = place.deployed(platform)
        platform.promote(canary)
        platform.promote(platform._workload.revision())

        assert times[0] > 5


def test_a_canary_grows_with_its_share_and_never_shrinks(place, platform):
    """Full size at 100 %, two pods at least where the stable build has several."""
    place.kubectl("scale", f"deployment/{place.name}", "--replicas=3")
    try:
        canary = place.deployed(platform)
        sizes = []
        for share in (0.05, 0.5, 0.67, 1.0, 0.05):
            platform.grow(canary, share)
            sizes.append(place.get("deployment", f"{place.name}-canary")["spec"]["replicas"])
        early = platform.ready(canary)
        until(lambda: platform.ready(canary).ready)
    finally:
        place.kubectl("scale", f"deployment/{place.name}", "--replicas=2")

    assert sizes == [2, 2, 3, 3, 3]
    assert not early.ready
    assert len(platform.copies(canary)) == 3


def test_one_pod_has_a_canary_of_one_and_the_user_has_the_last_word(place, platform):
    """`canary.replicas` before `replicas` of the target before what the stable build has."""
    copies = platform._copies
    stable = place.get("deployment", place.name)
    alone = but(stable, lambda new: new["spec"].update(replicas=1))
    silent = but(stable, lambda new: new["spec"].pop("replicas"))

    assert [copies._fewest(each, Revision("a", "b")) for each in (stable, alone, silent)] == [2, 1, 1]
    assert copies._fewest(alone, Revision("a", "b", Change(replicas=4))) == 4


def test_an_autoscaler_does_not_take_away_what_users_come_back_to(place, platform):
    """Its minimum is held while any copy is there: the canary's, and a control that leaves before it."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": place.name}
    place.cluster.apply(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": place.name, "namespace": place.namespace},
            "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 4},
        }
    )

    def minimum():
        return place.get("hpa", place.name)["spec"]["minReplicas"]

    try:
        canary = place.deployed(platform)
        control = Revision(platform.stable().image, platform.stable().digest, copy="control")
        platform.deploy(control)
        held = [minimum()]
        platform.remove(control)
        held.append(minimum())
        platform.remove(canary)
        held.append(minimum())
        notes = place.get("hpa", place.name)["metadata"].get("annotations", {})
    finally:
        place.kubectl("delete", "hpa", place.name)

    assert held == [2, 2, 1]
    assert not [key for key in notes if "canary" in key]


def test_a_copy_of_another_rollout_is_neither_taken_over_nor_removed(place, platform):
    """Its facts belong to whoever left it."""
    canary = place.deployed(platform)
    other = platform.resolve(place.image(OTHER), Change(env=(("A", "1"),)))
    with pytest.raises(AdapterError, match=r"of another rollout .* is still there; type `pytest-canary recover`"):
        platform.deploy(other)
    platform.remove(other)

    assert platform.ready(canary).ready
