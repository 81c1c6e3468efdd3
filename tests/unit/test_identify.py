"""Asking both sides which model they serve, in the memory world: who is asked, how often, and how long is waited."""

import pytest

from pytest_canary.adapters.clock import VirtualClock
from pytest_canary.adapters.memory import MemoryMetrics, MemoryPlatform, MemoryProbe, MemoryRouter
from pytest_canary.errors import NotStarted
from pytest_canary.identity import Stated, Wanted
from pytest_canary.ports import Prompt, Revision, Role, Shared, World
from pytest_canary.steps.digest import FILE, Digests
from pytest_canary.steps.identify import Identifier, Listening

CANARY = Revision("gateway:v2", "sha256:2")
PROMPTS = [Prompt(body={"model": "default"})] * 3


class Late(MemoryMetrics):
    """Is scraped every five seconds, so that a canary is seen only after eight."""

    interval_seconds = 5.0

    def models(self, role):
        """Nothing of the canary at first."""
        return {} if role is Role.CANARY and self._clock.now() < 8 else super().models(role)


@pytest.fixture
def ask(tmp_path):
    """What is found about both sides, the probe that was listened to, and the seconds that it took."""

    def ask(wanted, *, metrics=None, source=MemoryMetrics, probe=None, warmed_by=(), **platform):
        clock = VirtualClock()
        shared = Shared("gateway", clock, tmp_path / "state", tmp_path)
        runs = MemoryPlatform(MemoryPlatform.Options(**platform), shared)
        router = MemoryRouter(MemoryRouter.Options(), shared)
        counts = source(source.Options(**(metrics or {})), shared)
        listening = Listening(MemoryProbe(MemoryProbe.Options(**(probe or {})), shared), wanted.header)
        runs.start()
        runs.deploy(CANARY)
        for role, build in ((Role.BASELINE, runs.stable()), (Role.CANARY, CANARY)):
            router.attach(role, build, runs.address(build))
        for prompt in (*PROMPTS, *warmed_by):
            listening.ask(runs.address(CANARY), prompt)
        world = World(runs, router, counts, listening, clock, shared)
        identifier = Identifier(world, listening, wanted, Digests(tmp_path, shared.state), lambda _: None)
        return identifier.ask(runs.stable(), CANARY, "/health", PROMPTS), listening, clock.now()

    return ask


def test_the_stable_build_is_asked_what_the_canary_was_asked(ask):
    """Smoke and warm-up have asked the canary alone."""
    found, listening, _ = ask(Wanted())

    assert str(found) == "model 7 (/v1/models, response body)"
    assert listening.heard("memory://v1") == listening.heard("memory://v2") != ()


def test_only_what_both_were_asked_for_is_compared(ask):
    """A gateway serves many models, and warm-up asks the canary for more of them than smoke does."""
    gateway = {"models": {"v1": ("*",), "v2": ("*",)}}
    found, _, _ = ask(Wanted(sources=("answers",)), probe=gateway, warmed_by=[Prompt(body={"model": "short"})])

    assert str(found) == "model default (response body)"


@pytest.mark.parametrize("wanted", [Wanted(served=False), Wanted(same=False), Wanted(sources=("models",))])
def test_nobody_is_asked_where_nobody_wants_to_know(ask, wanted):
    """A plain service gets no requests that it did not get before."""
    _, listening, _ = ask(wanted)

    assert listening.heard("memory://v1") == ()


def test_labels_that_alone_tell_are_waited_for(ask):
    """A canary that has just come up has not been scraped."""
    labels = {"models": {"v1": {"a": "m@1"}, "v2": {"b": "m@1"}}}
    found, _, seconds = ask(Wanted(sources=("labels",)), metrics=labels, source=Late)

    assert str(found) == "model m@1 (metric labels)"
    assert 8 <= seconds < 10


@pytest.mark.parametrize(("sources", "most"), [(("labels",), 16), (("models", "labels"), 0)])
def test_labels_are_not_waited_for_in_vain(ask, sources, most):
    """Three scrapes, and none at all where somebody else tells."""
    found, _, seconds = ask(Wanted(sources=sources), metrics={"models": {"v1": {"a": "7"}}}, source=Late)

    assert seconds <= most
    assert bool(found.differ) is (sources == ("labels",))


def test_a_header_of_the_health_check_is_enough(ask):
    """A service without prompts has answers too."""
    headers = {"headers": {"v1": {"x-version": "3"}, "v2": {"x-version": "3"}}}
    found, _, _ = ask(Wanted(header="X-Version", sources=("header",)), probe=headers, model=None)

    assert str(found) == "model 3 (response header)"


# digests


def test_a_digest_is_that_of_sha256sum_and_is_read_once(tmp_path):
    """Whoever doubts it can repeat it."""
    (tmp_path / "model.bin").write_bytes(b"weights")
    state, ticks = tmp_path / "state", []
    first = Digests(tmp_path, state).of("model.bin", ticks.append)
    again = Digests(tmp_path, state).of("model.bin", ticks.append)

    assert first == again == "sha256:9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
    assert len(ticks) == 1


def test_a_file_that_changes_is_read_again_and_forgets_what_it_was(tmp_path):
    """By its size or its time."""
    (tmp_path / "model.bin").write_bytes(b"weights")
    first = Digests(tmp_path, tmp_path).of("model.bin")
    (tmp_path / "model.bin").write_bytes(b"other weights")

    assert Digests(tmp_path, tmp_path).of("model.bin") != first
    assert (tmp_path / FILE).read_text().count("sha256:") == 1


def test_a_folder_is_the_list_of_its_files_whatever_it_is_called(tmp_path):
    """Names in it count, hidden folders (a download's cache) do not."""
    for folder in ("one", "two"):
        (tmp_path / folder / ".cache").mkdir(parents=True)
        (tmp_path / folder / "a.bin").write_bytes(b"a")
        (tmp_path / folder / ".cache" / "note").write_text(folder)
    digests = Digests(tmp_path, tmp_path / "state")
    alike = digests.of("one") == digests.of("two")
    (tmp_path / "two" / "a.bin").rename(tmp_path / "two" / "b.bin")

    assert alike
    assert Digests(tmp_path, tmp_path / "state").of("two") != digests.of("one")


def test_a_memory_of_digests_that_is_damaged_is_made_anew(tmp_path):
    """It saves time and decides nothing."""
    (tmp_path / "model.bin").write_bytes(b"weights")
    (tmp_path / FILE).write_text("[")

    assert Digests(tmp_path, tmp_path).of("model.bin").startswith("sha256:")
    assert "sha256:" in (tmp_path / FILE).read_text()


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    """With its name."""
    with pytest.raises(NotStarted, match=r"^w.bin: cannot be read: No such file or directory; see `model`"):
        Digests(tmp_path, tmp_path).of("w.bin")


def test_a_policy_is_told_by_its_text_or_by_its_file(tmp_path):
    """And by nothing where nothing is stated."""
    (tmp_path / "guard.yaml").write_text("rules")
    digests = Digests(tmp_path, tmp_path)

    assert digests.version(Stated("p7")) == "p7"
    assert digests.version(Stated(file="guard.yaml")).startswith("guard.yaml@sha256:")
    assert digests.version(None) == ""
