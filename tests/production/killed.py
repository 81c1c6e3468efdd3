"""A production run whose process is killed (-9) at one of its writes, and what guards or another machine make of it.

`python -m tests.production.killed` kills one before and after every write; the tests take a dozen of them.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pytest_canary.ports import Seen
from tests.cluster import Cluster, running
from tests.production.shop import Shop

WRITES = (
    "POST leases#1", "PATCH leases#1", "PATCH leases#2", "PATCH leases#3", "PATCH leases#4", "POST deployments#1",
    "POST services#1", "PATCH leases#5", "POST serviceaccounts#1", "POST roles#1", "POST rolebindings#1", "POST jobs#1",
    "PATCH httproutes#1", "PATCH leases#6", "PATCH leases#7", "PATCH httproutes#2", "PATCH leases#8",
    "PATCH httproutes#3", "PATCH leases#9", "PATCH leases#10", "PATCH leases#11", "PUT deployments#1",
    "PATCH leases#12", "PATCH httproutes#4", "PATCH leases#13", "PATCH httproutes#5", "PATCH leases#14",
    "PATCH leases#15",
    "PATCH httproutes#6", "DELETE jobs#1", "DELETE rolebindings#1", "DELETE roles#1", "DELETE serviceaccounts#1",
    "PATCH deployments#1", "DELETE services#1", "DELETE deployments#1", "PATCH leases#16", "DELETE leases#1",
)  # fmt: skip
"""Every write of a promotion in two stages, in order."""
POINT_OF_NO_RETURN = "PATCH leases#14"
"""The fact that the new build is stable."""
MOMENTS = ("before", "after")
UNGUARDED = ("POST leases#1", "DELETE leases#1")
"""Who dies there has no guard yet, or none any more; what is left is a Lease that tells of nothing to do."""
GUARD, ELSEWHERE = "the guard", "another machine"
LOST_SECONDS = 17.0
"""After which a Lease that nobody renews is anybody's."""
AT_ONCE = 2
SHORT = {"bake": "0s", "hold": "1s", "baseline.window": "2s"}


@dataclass(frozen=True)
class Death:
    """At which write the run dies, and who puts it right: where it is not the local guard, that dies too."""

    write: str
    moment: str
    by: str = GUARD

    @property
    def stable(self) -> str:
        """The build that has to serve in the end."""
        at, turn = WRITES.index(self.write), WRITES.index(POINT_OF_NO_RETURN)
        return "v2" if at > turn or (at == turn and self.moment == "after") else "v1"

    def __str__(self) -> str:
        return f"{self.moment} {self.write}, {self.by}"


@dataclass(frozen=True)
class Found:
    """What there was in the end."""

    killed: bool
    stable: str
    whole: bool
    dropped: str
    alive: int
    seconds: float
    """From the death to the stable Service alone in its route, as somebody who looks ten times a second sees it."""
    said: str


def die(cluster: Cluster, death: Death, folder: Path) -> Found:
    """Let a run die, have it put right, and look."""
    with Shop.opened(cluster, folder / "here") as shop:
        site = shop.site
        shutil.copy(Path(__file__).with_name("deadly.py"), site.folder / "conftest.py")
        site.more |= {"KILL": f"{death.write} {death.moment}"}
        site.more |= {"KILL_GUARD": "1"} if death.by == ELSEWHERE else {}
        with shop.users(rate=30) as seen:
            run = shop.start("v2", **SHORT)
            out = run.communicate(timeout=240)[0]
            died = time.monotonic()
            killed = run.returncode == -9
            seconds = shop.until(lambda: shop.weights in ({shop.service.name: 1}, _all(shop)), 60)
            if death.by == ELSEWHERE:
                time.sleep(max(0.0, died + LOST_SECONDS - time.monotonic()))
                out += elsewhere(shop, folder / "there")
            shop.until(shop.whole, 90)
            time.sleep(1.0)
        return Found(killed, shop.stable, shop.whole(), _dropped(seen()), len(site.alive()), seconds, out)


def _all(shop: Shop) -> dict[str, int]:
    """One Service has everything, and the other is still in the route."""
    weights = shop.weights
    return weights if sorted(map(bool, weights.values())) == [False, True] else {}


def _dropped(seen: Seen) -> str:
    """Why requests were dropped; empty when none was."""
    return str(dict(seen.dropped_why)) if seen.dropped else ""


def elsewhere(shop: Shop, folder: Path) -> str:
    """Type ``pytest-canary recover`` on a machine of another name, with an empty disk."""
    site = shop.checkout(folder)
    sets = [word for key, value in shop.settings.items() for word in ("--set", f"{key}={value}")]
    where = ["rollouts/inference_gateway", "--target", "production", *sets]
    recover = [sys.executable, "-m", "pytest_canary.command", "recover", *where]
    words = ["unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh", *recover]
    done = subprocess.run(
        words, cwd=site.folder, env=site.env, capture_output=True, text=True, timeout=180, check=False
    )
    return done.stdout + done.stderr


def main(argv: Sequence[str] | None = None) -> int:
    """Every write, before and after, in a table; 1 when one of them was not put right."""
    parser = argparse.ArgumentParser(prog="python -m tests.production.killed", description=main.__doc__)
    parser.add_argument("--by", choices=(GUARD, ELSEWHERE), default=GUARD)
    parser.add_argument("--at-once", type=int, default=AT_ONCE)
    given = parser.parse_args(argv)
    deaths = [
        Death(write, moment, ELSEWHERE if write in UNGUARDED else given.by) for write in WRITES for moment in MOMENTS
    ]
    cluster, wrong = running(), 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(given.at_once) as pool:
        ended = [pool.submit(die, cluster, death, Path(folder) / str(n)) for n, death in enumerate(deaths)]
        for death, future in zip(deaths, ended, strict=True):
            try:
                found = future.result()
                good, said = right(death, found), f"{found.stable}, {found.seconds:.1f} s"
                said += "" if good else f"  {found}"
            except AssertionError as error:
                good, said = False, f"not in time: {error}"
            wrong += not good
            print(f"{'ok  ' if good else 'FAIL'} {death}: {said}", flush=True)  # noqa: T201
    print(f"{len(deaths) - wrong} of {len(deaths)} put right by {given.by}")  # noqa: T201
    return min(wrong, 1)


def right(death: Death, found: Found) -> bool:
    """Whether the service is in a known good state, nobody noticed, and nothing is left."""
    return (found.killed, found.stable, found.whole, found.dropped, found.alive) == (True, death.stable, True, "", 0)


if __name__ == "__main__":
    sys.exit(main())
