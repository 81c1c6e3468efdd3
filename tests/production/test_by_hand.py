"""What is done by hand in production: emergencies, looks, and what is refused."""

from __future__ import annotations


def test_revert_goes_back_to_the_build_before_even_from_a_machine_that_knows_no_history(shop):
    """Weight first; the build is the one that the stable Deployment's own history names."""
    with shop.users() as seen:
        run = shop.run("v2", bake="0s", hold="1s")
        assert run.exit == 0, run.out
        status, said = shop.canary("revert", "--reason", "an emergency", site=shop.checkout(shop.site.folder / "there"))
    users = seen()

    assert status == 0, said
    assert "has all the traffic" in said
    assert shop.stable == "v1"
    assert shop.whole()
    assert users.dropped == 0, users


def test_recover_where_nothing_is_wrong_says_so_and_leaves_nothing(shop):
    """It is safe to type."""
    status, said = shop.canary("recover")

    assert status == 0, said
    assert "nothing to recover" in said
    assert shop.whole()
    assert shop.cluster.kubectl("-n", shop.namespace, "get", "leases", "-o", "name").strip() == ""


def test_two_checkouts_cannot_roll_out_the_same_route(shop):
    """The Lease is kept where both can see it."""
    with shop.users():
        process = shop.start("v2", hold="60s")
        said = shop.site.wait_for("ramp[20%]", process)
        second = shop.run("v2-slow", site=shop.checkout(shop.site.folder / "there"))
        status, told = shop.canary("abort", "--reason", "enough")
        ended = shop.site.ended(process)

    assert second.exit == 4, second.out
    assert "is held by run" in second.out
    assert status == 0, told
    assert ended.exit == 1, said + ended.out
    assert "enough" in ended.out
    assert shop.stable == "v1"
    assert shop.whole()
