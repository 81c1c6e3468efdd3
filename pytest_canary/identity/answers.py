"""What a build says of its model when it is asked: the list of its models, and its answers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from pytest_canary.identity.values import AND, FINGERPRINT, Said, Source, Wanted
from pytest_canary.ports import Answer, Prompt

SHOWN = 4
"""Of more models than this their number is told, and a mark by which two lists can be compared."""
ENGINE = re.compile(r"vllm-|b\d+-[0-9a-f]+$")
"""Fingerprints that name an engine and its configuration (vLLM's, llama.cpp's), whatever model it has loaded."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What one answer says of the model, and which model was asked for."""

    asked: str = ""
    model: str = ""
    fingerprint: str = ""
    header: str = ""

    @classmethod
    def of(cls, prompt: Prompt, answer: Answer, header: str) -> Heard:
        """What ``answer`` says; nothing where it is an error."""
        if answer.error or not 200 <= answer.status < 300:
            return cls()
        asked, fingerprint = str((prompt.body or {}).get("model", "")), answer.fingerprint or ""
        said = answer.headers.get(header.lower(), "") if header else ""
        return cls(asked, answer.model or "", "" if ENGINE.match(fingerprint) else fingerprint, said.strip())


def answered(heard: Iterable[Heard], wanted: Wanted) -> list[Said]:
    """What answers say, by header and by body; several of one source where they do not agree."""
    heard, found = list(heard), list[Said]()
    if "header" in wanted.sources:
        found += [Said.by(Source.HEADER, one.header) for one in heard if one.header]
    if "answers" in wanted.sources:
        found += _bodies(heard, fingerprints=FINGERPRINT in wanted.sources)
    return list(dict.fromkeys(found))


def _bodies(heard: Iterable[Heard], *, fingerprints: bool) -> list[Said]:
    """One saying for all models that were asked for; where answers about one of them differ, each of these."""
    by_asked: dict[str, dict[str, set[str]]] = {}
    for one in heard:
        if one.model:
            by_asked.setdefault(one.asked, {}).setdefault(one.model, set()).add(one.fingerprint if fingerprints else "")
    each = [
        [
            Said(Source.ANSWERS, model, version)
            for model, found in models.items()
            for version in sorted(found - {""} or found)
        ]
        for _, models in sorted(by_asked.items())
    ]
    for sayings in each:
        if len(sayings) > 1:
            return sayings
    together = list(dict.fromkeys(sayings[0] for sayings in each))
    if len(together) == 1 or not together:
        return together
    return [Said(Source.ANSWERS, AND.join(sorted(map(str, together))))]


def of_models(data: Any) -> str | None:
    """What the JSON of ``/v1/models`` says: ``id@version``, ``id@root`` or ``id`` of each; None when it lists none."""
    listed = data.get("data") if isinstance(data, dict) else None
    models = listed if isinstance(listed, list) else []
    named = sorted({_named(one) for one in models if isinstance(one, dict) and isinstance(one.get("id"), str)})
    if len(named) <= SHOWN:
        return AND.join(named) or None
    return f"{len(named)} models, {sha256(AND.join(named).encode()).hexdigest()[:8]}"


def _named(model: dict[str, Any]) -> str:
    version = model.get("version") or model.get("root")
    return f"{model['id']}@{version}" if version and version != model["id"] else str(model["id"])
