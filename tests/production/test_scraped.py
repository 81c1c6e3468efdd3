"""The example's production target without a Prometheus: each pod is asked itself, through a promotion too."""

from __future__ import annotations

import pytest

from tests.production.shop import Shop

ASKED = 'metrics: {prometheus: {url: "${PROM_BASE}"}}'


class Scraped(Shop):
    """A service whose pods nobody scrapes but we."""

    def checkout(self, folder):
        """With one line of the rollout.yaml changed."""
        site = super().checkout(folder)
        file = folder / "rollouts" / "inference_gateway" / "rollout.yaml"
        text = file.read_text()
        assert text.count(ASKED) == 1
        file.write_text(text.replace(ASKED, "metrics: {scrape: {}}"))
        return site

    @property
    def settings(self):
        """The profile is found out."""
        return {key: value for key, value in super().settings.items() if "prometheus" not in key}


@pytest.fixture
def shop(cluster, tmp_path):
    """Two pods of the stable build behind a route."""
    with Scraped.opened(cluster, tmp_path / "site") as shop:
        yield shop


def test_a_good_build_is_promoted_by_what_its_pods_say(shop):
    """Pods of the canary, then new pods of the stable Deployment: nobody is counted twice, nobody is forgotten."""
    with shop.users() as seen:
        run = shop.run("v2")
    users = seen()

    assert run.exit == 0, run.out
    assert run.report["end"] == "promoted"
    assert "metrics are read by profile demo-gateway, found out" in run.out
    assert shop.stable == "v2"
    assert shop.whole()
    assert users.dropped == 0, users


def test_a_bad_build_is_caught_by_what_its_pods_say(shop):
    """Its own 5xx convict it, and what it has begun it ends."""
    with shop.users() as seen:
        run = shop.run("v2-errors", hold="60s")
    users = seen()

    assert (run.exit, run.report["end"]) == (1, "rolled back"), run.out
    assert "error_rate" in {verdict["gate"] for verdict in run.report["verdicts"] if verdict["status"] == "fail"}
    assert (shop.stable, shop.whole()) == ("v1", True)
    assert users.dropped == 0, users
