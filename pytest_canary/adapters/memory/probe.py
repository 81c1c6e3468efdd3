"""Answers of builds that are names."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field

from pytest_canary.adapters.memory.world import MemoryWorld
from pytest_canary.ports import Answer, Fault, Prompt, Revision, Shared

SCHEME = "memory://"
SECONDS, TOKENS = 0.02, 5


class Cold(BaseModel):
    """A build that is slow at first: the first answer takes ``slowdown`` times as long, after ``answers`` none does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    answers: int = Field(gt=0)
    slowdown: float = Field(default=6.0, gt=1)

    def factor(self, nth: int) -> float:
        """How many times as long answer ``nth`` (from 1) takes: less and less, evenly."""
        return 1.0 + (self.slowdown - 1.0) * max(0.0, 1.0 - (nth - 1) / self.answers)


class MemoryProbeOptions(BaseModel):
    """What ``probe: {memory: {...}}`` may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bad: dict[str, str] = Field(default_factory=dict)
    """Tag -> what is wrong with every answer of that build."""
    cold: dict[str, Cold] = Field(default_factory=dict)
    """Tag -> how slow that build is until it is warm."""
    refuses: dict[str, str] = Field(default_factory=dict)
    """Tag -> the words with which that build refuses every prompt."""
    truncates: dict[str, int] = Field(default_factory=dict)
    """Tag -> every so many answers of that build one ends in the middle."""
    slow: dict[str, float] = Field(default_factory=dict)
    """Tag -> how many times as long that build takes."""
    wordy: dict[str, float] = Field(default_factory=dict)
    """Tag -> how many times as many tokens that build says."""
    models: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Tag -> what its answers say of the model, ``name@fingerprint``; of several each in turn, as replicas would.

    The name ``*`` is the one that was asked for, as gateways say it."""
    headers: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Tag -> headers of every answer of that build."""


class MemoryProbe:
    """:class:`~pytest_canary.ports.Probe` in memory: whatever runs answers in 20 ms, and knows what is right."""

    Options = MemoryProbeOptions

    def __init__(self, options: MemoryProbeOptions, shared: Shared) -> None:
        self._options = options
        self._bad, self._cold, self._refuses = options.bad, options.cold, options.refuses
        self._models, self._headers = options.models, options.headers
        self._world = MemoryWorld.of(shared)
        self._asked: Counter[str] = Counter()
        """Pin -> prompts answered, health aside."""

    @classmethod
    def connect(cls, options: MemoryProbeOptions, shared: Shared) -> MemoryProbe:
        """The probe of one target."""
        return cls(options, shared)

    def ask(self, address: str, prompt: Prompt) -> Answer:
        tag = address.removeprefix(SCHEME)
        with self._world.lock:
            found = [revision for revision in self._world.state.running.values() if revision.tag == tag]
        if not found or not address.startswith(SCHEME):
            return Answer(0, 0.0, finished=False, error=f"nothing answers at {address}", fault=Fault.NO_ANSWER)
        if tag in self._bad:
            return Answer(500, SECONDS, error=self._bad[tag], fault=Fault.STATUS)
        if prompt.method == "GET":
            return Answer(200, SECONDS, text="ok", headers=self._headers.get(tag, {}))
        answer = self._good(prompt, found[0], SECONDS * self._factor(found[0]))
        every = self._options.truncates.get(tag)
        if every and self._asked[found[0].pin] % every == 0:
            cut = "the answer was cut short: neither [DONE] nor a finish_reason"
            return replace(answer, finished=False, error=cut, fault=Fault.TRUNCATED, finish=None)
        return answer

    def _factor(self, revision: Revision) -> float:
        """How many times as long as usual this answer of ``revision`` takes."""
        with self._world.lock:
            self._asked[revision.pin] += 1
            nth = self._asked[revision.pin]
            self._world.asked[revision.pin] = self._world.asked.get(revision.pin, 0.0) + 1
        cold = self._cold.get(revision.tag)
        return (cold.factor(nth) if cold else 1.0) * self._options.slow.get(revision.tag, 1.0)

    def _good(self, prompt: Prompt, revision: Revision, seconds: float) -> Answer:
        """A right answer of so many tokens, which a stream spreads evenly over its second half."""
        no = self._refuses.get(revision.tag)
        model, fingerprint = self._model(revision, prompt)
        first, gap = (seconds / 2, seconds / 2 / (TOKENS - 1)) if prompt.stream else (None, None)
        return Answer(
            200,
            seconds,
            first,
            text=no or f"ok {prompt.expect or 'Paris'}",
            model=model,
            tokens=round(TOKENS * self._options.wordy.get(revision.tag, 1.0)),
            prompt_tokens=TOKENS,
            gap_mean_seconds=gap,
            gap_longest_seconds=gap,
            finish="stop",
            refusal=no,
            fingerprint=fingerprint,
            headers=self._headers.get(revision.tag, {}),
        )

    def _model(self, revision: Revision, prompt: Prompt) -> tuple[str | None, str | None]:
        """Name and fingerprint of the replica whose turn it is."""
        replicas = self._models.get(revision.tag)
        if not replicas:
            return self._world.model_of(revision), None
        name, _, fingerprint = replicas[self._asked[revision.pin] % len(replicas)].partition("@")
        asked = str((prompt.body or {}).get("model", ""))
        return (asked if name == "*" else name) or None, fingerprint or None

    def close(self) -> None:
        """Nothing to let go of."""
