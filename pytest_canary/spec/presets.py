"""``gates: llm`` and ``gates: {preset: llm, NAME: {...}, NAME: off}`` -> one map entry for each gate."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pytest_canary.errors import SpecError
from pytest_canary.gates import names
from pytest_canary.gates.values import KINDS_OF_LIMIT
from pytest_canary.spec.tree import Branch, Leaf, Row, merged
from pytest_canary.spec.units import FALSE

Written = Mapping[str, str | list[str]]

PRESETS: Mapping[str, Mapping[str, Written]] = {
    "llm": {
        "latency_p99": {"ratio": "1.5", "quantiles": ["p50", "p95", "p99"]},
        "cost_per_request": {"ratio": "1.2"},
        "error_or_refusal_rate": {"ratio": "2"},
        "output_tokens": {"shift": "psi > 0.1"},
        "feedback_negative_rate": {"ratio": "1.5"},
    },
    "model-quality": {
        "error_rate": {"max": "1%"},
        "latency_p95": {"ratio": "2"},
        "quality": {"min": "0.85"},
        "hallucination_rate": {"max": "5%"},
        "cost_per_request": {"ratio": "1.5", "action": "alert"},
    },
    "probes": {
        "probe_error_rate": {"ratio": "1.5"},
        "probe_ttft_p99": {"ratio": "1.5"},
        "probe_inter_token_latency": {"ratio": "1.5"},
        "probe_refusal_rate": {"ratio": "2"},
        "probe_output_tokens": {"ratio": "1.3"},
    },
}
"""Name of a preset -> its gates, as one would write them."""


def named(tree: Branch) -> None:
    """Write ``gates: llm`` as ``gates: {preset: llm}``, so that what lies over it changes single gates."""
    gates = tree.items.get("gates")
    if isinstance(gates, Leaf) and gates.text:
        tree.items["gates"] = Branch({"preset": gates}, gates.where, {"preset": gates.where})


def expand(flat: Branch) -> dict[str, str]:
    """Write all gates of ``flat`` out, without those that are ``off``; gate -> the preset that declares it."""
    gates = flat.items.get("gates")
    if not isinstance(gates, Branch):
        return {}
    chosen = gates.items.get("preset")
    declared = _declared(chosen) if chosen is not None else Branch({}, gates.where)
    theirs = {name: entry for name, entry in gates.items.items() if name != "preset"}
    written = Branch({}, gates.where)
    for name in dict.fromkeys([*declared.items, *theirs]):
        mine, entry = declared.items.get(name), theirs.get(name)
        if entry is not None and _off(entry):
            _refuse_a_typo(name, declared, gates.places[name])
            continue
        written.items[name] = entry if mine is None else mine if entry is None else _over(mine, entry)
        written.places[name] = gates.places.get(name) or declared.places[name]
    flat.items["gates"] = written
    return {name: chosen.text for name in declared.items if name in written.items} if isinstance(chosen, Leaf) else {}


def _declared(chosen: Any) -> Branch:
    if not isinstance(chosen, Leaf) or chosen.text not in PRESETS:
        found = chosen.text if isinstance(chosen, Leaf) else "a list or a map"
        near = get_close_matches(found, PRESETS, 1, 0.4)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise SpecError(f"{chosen.where}: found gates {found!r}, expected a map or one of {', '.join(PRESETS)}{hint}")
    entries = {name: _entry(entry, chosen.where) for name, entry in PRESETS[chosen.text].items()}
    return Branch(dict(entries), chosen.where, dict.fromkeys(entries, chosen.where))


def _entry(entry: Written, where: str) -> Branch:
    values = {
        key: Leaf(value, where) if isinstance(value, str) else Row([Leaf(one, where) for one in value], where)
        for key, value in entry.items()
    }
    return Branch(dict(values), where, dict.fromkeys(values, where))


def _off(entry: Any) -> bool:
    return isinstance(entry, Leaf) and entry.text.lower() in FALSE


def _over(mine: Branch, theirs: Any) -> Any:
    """The file's entry over the preset's; a limit of its own takes the place of all the preset's limits."""
    if not isinstance(theirs, Branch):
        return theirs
    if any(key in theirs.items for key in KINDS_OF_LIMIT):
        mine = Branch({k: v for k, v in mine.items.items() if k not in KINDS_OF_LIMIT}, mine.where, mine.places)
    return merged(mine, theirs)


def _refuse_a_typo(name: str, declared: Branch, where: str) -> None:
    """What is switched off must be a gate that there could be."""
    known = (*declared.items, *names())
    if name not in known:
        near = get_close_matches(name, known, 1, 0.4)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise SpecError(f"{where}: gates.{name}: off, but there is no such gate{hint}")
