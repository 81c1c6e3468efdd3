"""Whether those who speak of one side agree, and whether both sides serve the same model."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from pytest_canary.errors import ModelMismatch
from pytest_canary.identity.values import AND, DIGEST, KEYS, OWN, Identity, Said, Source, short

STATE = "state it (`model: {baseline: ..., canary: ...}`) or write `same_model: false`, or `model: none` if it has none"


def settled(side: str, said: Iterable[Said]) -> Identity:
    """What ``side`` serves by all that is ``said`` of it.

    Raises:
        ModelMismatch: one source says two things, or two sources contradict each other.

    """
    order = list(Source)
    found = sorted(dict.fromkeys(said), key=lambda one: order.index(one.source))
    for one, other in combinations(found, 2):
        if one.source is other.source:
            raise ModelMismatch(
                f"the {side} serves two versions, {one} and {other} ({one.source}): its replicas are not alike; "
                f"let all of them serve one{_without_fingerprint(one, other)}"
            )
        if _contradict(one, other):
            raise ModelMismatch(
                f"the {side} serves {_said(one)} and {_said(other)}, which cannot both be right; mend one of them, or "
                f"name those that count: `model: {{from: [{_key(other.source)}]}}`"
            )
    return Identity(tuple(found))


def differ(baseline: Identity, canary: Identity, header: str = "") -> str:
    """Why both do not serve the same model, or nobody knows that they do, in one line; empty when they do.

    Each source that speaks of both must say the same of both; ``header`` must be sent by both, where one is named.
    """
    if not (baseline.said and canary.said):
        one = "the baseline does not say" if canary.said else "the canary does not say"
        silent = one if baseline.said or canary.said else "neither side says"
        return f"{silent} which model version it serves, and unknown is not equal; {STATE}"
    for source in Source:
        ours, theirs = baseline.by(source), canary.by(source)
        if ours and theirs and ours.key != theirs.key:
            return _two(_said(ours), _said(theirs), _without_fingerprint(ours, theirs))
    for side, identity in (("baseline", baseline), ("canary", canary)):
        if header and identity.by(Source.HEADER) is None:
            return (
                f"the {side} does not send the header {header}, and unknown is not equal; let both builds send it, or "
                "take `header` out of `model`"
            )
    return "" if _alike(baseline, canary) else _two(str(baseline), str(canary))


def _alike(baseline: Identity, canary: Identity) -> bool:
    """What is stated of one side must be stated of the other, or be what it says; else one source has said both."""
    if baseline.own and canary.own:
        return baseline.own.key == canary.own.key
    if not (baseline.own or canary.own):
        common = {one.source for one in baseline.said} & {one.source for one in canary.said}
        return bool(common) or baseline.text == canary.text
    stated, other = (baseline, canary) if baseline.own else (canary, baseline)
    return stated.text in {other.text, *(word for one in other.said for word in (str(one), one.version))}


def _two(old: str, new: str, hint: str = "") -> str:
    return (
        f"the canary serves {new}, the baseline {old}: their numbers cannot be compared; roll out the model by itself, "
        f"or write `same_model: false`{hint}"
    )


def _said(said: Said) -> str:
    """``llama-3-8b@fp_44 (response body)``."""
    return f"{short(str(said))} ({said.source})"


def _without_fingerprint(one: Said, other: Said) -> str:
    """Where fingerprints alone differ, how to do without."""
    if one.source is not Source.ANSWERS or one.name != other.name:
        return ""
    return ", or leave fingerprints out: `model: {from: [models, header, answers, labels]}`"


def _contradict(one: Said, other: Said) -> bool:
    """Whether two sources cannot both be right; ``one`` comes first in :class:`Source`."""
    if one.source in (Source.REGISTRY, Source.FILE):
        return False  # nobody else speaks of digests
    if one.source is Source.STATED and not (one.version and (not other.name or _akin(one.name, other.name))):
        return False  # people call versions as they like
    if one.name and other.name and not _akin(one.name, other.name):
        return True
    if Source.ANSWERS in (one.source, other.source):
        return False  # a fingerprint is another thing than a version
    mine, theirs = (each.version.removeprefix("v") for each in (one, other))
    plain = mine and theirs and not any("/" in each or each.startswith(DIGEST) for each in (mine, theirs))
    return bool(plain) and mine != theirs


def _akin(one: str, other: str) -> bool:
    """Whether two names may mean one model: ``gpt-4o`` and ``openai/gpt-4o-2024-08-06`` do."""
    pairs = [(mine, theirs) for mine in _bare(one) for theirs in _bare(other)]
    return any(mine.startswith(theirs) or theirs.startswith(mine) for mine, theirs in pairs)


def _bare(name: str) -> list[str]:
    """The single names, without who made them; of a list that is told by its number any name may be."""
    if " models, " in name:
        return [""]
    return [each.partition("@")[0].rpartition("/")[2].lower() for each in name.split(AND)]


def _key(source: Source) -> str:
    return next((key for key, one in KEYS.items() if one is source), OWN[0])
