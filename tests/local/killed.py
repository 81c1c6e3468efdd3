"""A rollout whose process is killed (-9) at an effect, and what its guard makes of it; `deadly` does the killing.

`python -m tests.local.killed` kills one before, during and after every effect; the tests take each effect once.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.local.main_job import ENDLESS, HASTY, Asking, address_in, builds_that_answer, command_of, serving
from tests.local.rehearsal import ROOT, Site

PROMOTED = (
    "platform.start#1", "router.start#1", "router.attach#1", "router.set_weights#1", "load.enter#1",
    "platform.deploy#1", "router.attach#2", "router.set_weights#2", "router.set_weights#3", "router.set_weights#4",
    "platform.promote#1", "router.attach#3", "router.set_weights#5", "router.detach#1", "platform.remove#1",
    "load.leave#1",
)  # fmt: skip
"""Every effect of a rollout of two stages that promotes and goes on serving, in order."""
ROLLED_BACK = (
    *PROMOTED[:8], "router.set_weights#3", "router.detach#1", "platform.remove#1", "load.leave#1", "router.stop#1",
    "platform.stop#1",
)  # fmt: skip
"""Every effect of one that is rolled back at its first stage, and of the end of its world."""
SAID = ("put right by the guard", "put right by pytest-canary recover", "died before its report")
MOMENTS = ("before", "during", "after")
AT_ONCE = 3
POINT_OF_NO_RETURN = "platform.promote#1"


@dataclass(frozen=True)
class Death:
    """Who dies where: `build` is shipped, and killed at `effect`."""

    build: str
    effect: str
    moment: str
    by: str = "guard"
    """Who puts it right; where it is not the guard, that dies too."""

    @property
    def kept(self) -> bool:
        """Whether its world is to go on serving."""
        return self.build == "v2"

    @property
    def stable(self) -> set[str]:
        """The build that may have all the traffic afterwards."""
        if not self.kept or PROMOTED.index(self.effect) < PROMOTED.index(POINT_OF_NO_RETURN):
            return {"v1"}
        if self.effect == POINT_OF_NO_RETURN:
            return {"before": {"v1"}, "during": {"v1", "v2"}, "after": {"v2"}}[self.moment]
        return {"v2"}

    def __str__(self) -> str:
        return f"{self.effect} {self.moment}, {self.build}, {self.by}"


@dataclass(frozen=True)
class Found:
    """What was there when the guard had gone."""

    killed: bool
    builds: frozenset[str]
    """That run."""
    answers: frozenset[str]
    """That users reach."""
    lost: tuple[str, ...]
    left: tuple[str, ...]
    """Processes that nothing had ended in the end."""
    said: str
    status: str


HEALERS = ("guard", "recover", "the next run")


def every(by: str) -> list[Death]:
    """A death before, during and after each effect."""
    good = [Death("v2", effect, moment, by) for effect in PROMOTED for moment in MOMENTS]
    return good + [Death("v2-errors", effect, moment, by) for effect in ROLLED_BACK[8:] for moment in MOMENTS]


SOME = [
    Death(build, effect, MOMENTS[n % 3], HEALERS[n // 3 % 3])
    for n, (build, effect) in enumerate([("v2", e) for e in PROMOTED] + [("v2-errors", e) for e in ROLLED_BACK[8:]])
]
"""Each effect once, at one of the moments, put right by one of the three."""


def deadly_site(folder: Path, kill: str) -> Site:
    """The example in `folder`, with adapters that kill."""
    site = Site(folder)
    example = site.folder / "rollouts" / "inference_gateway"
    (example / "short.jsonl").write_text("".join((example / "prompts.jsonl").read_text().splitlines(True)[:4]))
    shutil.copy(ROOT / "tests" / "local" / "deadly.py", example / "conftest.py")
    site.more["KILL"] = kill
    return site


def die(death: Death, folder: Path) -> Found:
    """Ship a build, be killed, wait until that is put right, and look."""
    too = "" if death.by == "guard" else ";guard router.start#1 before;guard router.stop#1 before"
    site = deadly_site(folder, f"run {death.effect} {death.moment}{too}")
    keep = ("--set", "keep=true") if death.kept else ()
    try:
        settings = {**HASTY, "keep": "true"} if death.kept else {**HASTY, **ENDLESS}
        process = site.start(build=death.build, **settings)
        assert process.stdout is not None
        with process, ExitStack() as users:
            asking, said = None, ""
            for line in process.stdout:
                said += line
                if "canary target" in line and death.kept:
                    asking = users.enter_context(Asking(address_in(line)))
            process.wait()
            wait_for_guard(site)
            site.more["KILL"] = ""
            if death.by == "recover":
                site.canary("recover", *keep)
            elif death.by == "the next run":
                site.run(build="v2-model8", **HASTY, **({"keep": "true"} if death.kept else {}))
            builds = frozenset(serving(site))
            address = asking.address if asking else ""
            answers = frozenset(builds_that_answer(address)) if address else frozenset[str]()
        status = site.canary("status", *keep)[1]
        if death.kept:
            site.canary("down", *keep)
        lost = tuple(asking.lost) if asking else ()
        left = tuple(command_of(pid).decode() for pid in site.alive())
        return Found(process.returncode == -9, builds, answers, lost, left, guard_log(site), status)
    finally:
        site.end()


def wait_for_guard(site: Site, patience_seconds: float = 40.0) -> None:
    """Wait until no guard of the site is left."""
    until = time.monotonic() + patience_seconds
    while any(b"pytest_canary.command\0guard" in command_of(pid) for pid in site.alive()):
        assert time.monotonic() < until, guard_log(site)
        time.sleep(0.05)


def guard_log(site: Site) -> str:
    """What the guard has said."""
    return "".join(path.read_text() for path in site.folder.rglob("guard.log"))


def all_of(deaths: Sequence[Death], folder: Path) -> dict[Death, Future[Found]]:
    """All of `deaths`, a few at once."""
    pool = ThreadPoolExecutor(AT_ONCE)
    found = {death: pool.submit(die, death, folder / str(n)) for n, death in enumerate(deaths)}
    pool.shutdown(wait=False)
    return found


def wrong(death: Death, seen: Found) -> str:
    """What is not as it has to be after `death`; empty when all is well."""
    if not seen.killed:
        return "it was not killed"
    if seen.lost or seen.left:
        return f"lost {seen.lost}, left {seen.left}"
    if death.by != "the next run" and not any(words in seen.status for words in SAID):
        return f"nobody says what happened: {seen.status}"
    if not death.kept:
        return f"{set(seen.builds)} run" if seen.builds else ""
    if len(seen.builds) != 1 or not seen.builds <= death.stable:
        return f"{set(seen.builds)} run, expected one of {death.stable}"
    return f"{set(seen.answers)} answer" if seen.answers and seen.answers != seen.builds else ""


def main() -> int:
    """Kill at every effect, and count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--by", choices=HEALERS, default="guard", help="who puts it right")
    deaths, missed = every(parser.parse_args().by), 0
    with tempfile.TemporaryDirectory(prefix="killed-") as name:
        for death, future in all_of(deaths, Path(name)).items():
            said = wrong(death, future.result())
            missed += bool(said)
            sys.stdout.write(f"{death!s:<44} {said or 'put right'}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{len(deaths) - missed} of {len(deaths)} put right\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
