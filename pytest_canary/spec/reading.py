"""rollout.yaml -> Spec: choose the target, lay it over the top, check every key, and name the line of every mistake."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pytest_canary.errors import SpecError
from pytest_canary.spec import calibrating, presets, serving, worldless
from pytest_canary.spec import tree as trees
from pytest_canary.spec.document import Document, GateEntry, ProbeEntry
from pytest_canary.spec.stages import long_form
from pytest_canary.spec.tree import Branch, Leaf, Row

ADAPTERS = ("platform", "router", "metrics", "load", "probe", "clock")
SIZE_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class AdapterChoice:
    """The adapter a target names, with its options as they stand, and where."""

    name: str
    options: Mapping[str, Any]
    where: str


@dataclass(frozen=True, slots=True)
class Spec:
    """A rollout.yaml, read for one target."""

    path: Path
    target: str
    targets: tuple[str, ...]
    document: Document
    platform: AdapterChoice
    router: AdapterChoice
    metrics: AdapterChoice
    probe: AdapterChoice
    clock: AdapterChoice
    load: AdapterChoice | None
    overrides: tuple[str, ...] = ()
    limits_from_environment: tuple[tuple[str, str], ...] = ()
    """Gate -> the variable that set one of its limits; such files replace scripts that read it in another way."""
    from_preset: Mapping[str, str] = field(default_factory=dict)
    """Gate -> the preset that declares it."""
    model_change: tuple[str, ...] = ()
    """What is stricter because another model is shipped, in words; empty where none is."""
    tree: Branch = field(default_factory=lambda: Branch({}, ""), repr=False, compare=False)
    simulated: bool = False
    """Whether the target's own adapters were left out, because its traffic is made up."""
    load_before: Mapping[str, Any] | None = None
    """What the target said about its load, where that was left out."""
    rebuilds: bool = False
    """Whether the target's own platform starts new processes on promotion, where that was left out."""

    @property
    def service(self) -> str:
        """Name of the service."""
        return self.document.service

    @property
    def folder(self) -> Path:
        """The folder that paths in the file are relative to."""
        return self.path.parent

    def where(self, key: str) -> str:
        """The place of ``a.b.c``, such as ``rollout.yaml:12``; of the nearest part of it that stands in the file."""
        return place(self.tree, key.split("."))


def place(tree: Any, parts: Sequence[Any]) -> str:
    """The place of the key that ``parts`` lead to, or as far as they lead."""
    where: str = tree.where
    for part in parts:
        if isinstance(tree, Branch) and str(part) in tree.items:
            where, tree = tree.places[str(part)], tree.items[str(part)]
            if isinstance(tree, Leaf):
                where = tree.where
        elif isinstance(tree, Row) and isinstance(part, int) and part < len(tree.items):
            tree = tree.items[part]
            where = tree.where
        else:
            break
    return where


def is_ours(path: Path) -> bool:
    """Whether ``path`` is a rollout of this package: it names a ``service``, and is nobody's manifest."""
    try:
        if path.stat().st_size > SIZE_LIMIT:
            return False
        text = path.read_text(encoding="utf-8")
        if "service" not in text:
            return False
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, RecursionError):
        return False
    except yaml.YAMLError:  # broken, but it may well be ours: then its mistake must be shown
        lines = text.splitlines()
        return any(line.startswith("service:") for line in lines) and not any(
            line.startswith(("apiVersion:", "kind:")) for line in lines
        )
    keys = {str(key.value) for key, _ in node.value} if isinstance(node, yaml.MappingNode) else set()
    return "service" in keys and not keys & {"apiVersion", "kind"}


def load(
    path: Path,
    *,
    target: str | None = None,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    simulated: bool = False,
) -> Spec:
    """Read ``path`` for ``target`` (the default one when None), with ``overrides`` (``KEY=VALUE``) laid over it.

    Where it is ``simulated``, what the target says of the real world is left out, and so may be its variables.

    Raises:
        SpecError: one line for each mistake, each with its place.

    """
    whole = trees.read(path)
    presets.named(whole)
    for target_tree in _targets(whole).values():
        presets.named(target_tree)
    for override in overrides:
        whole = trees.overridden(whole, override)
    targets = _targets(whole)
    chosen = _choose(whole, targets, target)
    _refuse_unknown_keys(whole, targets)
    top = Branch({k: v for k, v in whole.items.items() if k not in ("targets", "default_target")}, whole.where)
    top.places = whole.places
    flat = trees.merged(top, targets[chosen])
    for override in overrides:
        if override.partition(".")[0].partition("=")[0].strip() in Document.model_fields:
            flat = trees.overridden(flat, override)  # what was typed wins over what the target says, too
    presets.named(flat)
    from_environment = _limits_from(flat, os.environ if environ is None else environ)
    before = worldless.leave_out(flat, ADAPTERS) if simulated else None
    flat = trees.substituted(flat, environ)
    _expand(flat)
    from_preset = presets.expand(flat)
    document, model_change = serving.stricter(_validated(flat), preset=bool(from_preset))
    choices = {kind: _choice(flat, kind) for kind in ADAPTERS}
    return Spec(
        path=path,
        target=chosen,
        targets=tuple(targets),
        document=document,
        platform=_needed(choices["platform"]),
        router=_needed(choices["router"]),
        metrics=_needed(choices["metrics"]),
        probe=choices["probe"] or AdapterChoice("http", {}, flat.where),
        clock=choices["clock"] or AdapterChoice("system", {}, flat.where),
        load=choices["load"],
        overrides=tuple(overrides),
        limits_from_environment=from_environment,
        from_preset=from_preset,
        model_change=model_change,
        tree=flat,
        simulated=simulated,
        load_before=before.load if before else None,
        rebuilds=before.rebuilds if before else False,
    )


def _limits_from(flat: Branch, environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The gates with a limit that a variable sets which is there, and its name."""
    gates = flat.items.get("gates")
    found = []
    for name, gate in gates.items.items() if isinstance(gates, Branch) else ():
        for limit in gate.items.values() if isinstance(gate, Branch) else ():
            variable = trees.VARIABLE.search(limit.text) if isinstance(limit, Leaf) else None
            if variable and environ.get(variable[2]):
                found.append((name, variable[2]))
    return tuple(found)


def _needed(choice: AdapterChoice | None) -> AdapterChoice:
    assert choice is not None  # the model says so
    return choice


def _targets(whole: Branch) -> dict[str, Branch]:
    targets = whole.items.get("targets")
    if not isinstance(targets, Branch) or not targets.items:
        where = whole.places.get("targets", whole.where)
        raise SpecError(f"{where}: found no targets, expected at least one with platform, router and metrics")
    for name, target in targets.items.items():
        if not isinstance(target, Branch):
            raise SpecError(f"{targets.places[name]}: target {name!r} is no map, expected platform, router and metrics")
    return targets.items


def _choose(whole: Branch, targets: Mapping[str, Branch], wanted: str | None) -> str:
    default = whole.items.get("default_target")
    name = wanted or (default.text if isinstance(default, Leaf) else None)
    if name is None and len(targets) == 1:
        name = next(iter(targets))
    if name is None:
        commands = " or ".join(f"--canary-target={target}" for target in targets)
        raise SpecError(f"{whole.where}: there are {len(targets)} targets and no default_target: add {commands}")
    if name not in targets:
        where = "--canary-target" if wanted else place(whole, ["default_target"])
        raise SpecError(f"{where}: found target {name!r}, expected one of {', '.join(targets)}")
    return name


def _refuse_unknown_keys(whole: Branch, targets: Mapping[str, Branch]) -> None:
    known = [*Document.model_fields, "targets", "default_target"]
    problems = [_unknown(key, known, whole.places[key]) for key in whole.items if key not in known]
    for target in targets.values():
        problems += [
            _unknown(key, list(Document.model_fields), target.places[key])
            for key in target.items
            if key not in Document.model_fields
        ]
    if problems:
        raise SpecError("\n".join(problems))


def _unknown(key: str, known: Sequence[str], where: str) -> str:
    near = get_close_matches(key, known, 1, 0.6)
    return f"{where}: found key {key!r}, " + (
        f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
    )


def _expand(flat: Branch) -> None:
    """Write the short forms out: ``baseline: stable``, ``warmup: 90s``, ``stages: 5 25 50 100``, ``probe: memory``."""
    for key, inner in (("baseline", "revision"), ("warmup", "for"), ("evidence", "preset"), ("control", "on")):
        value = flat.items.get(key)
        if isinstance(value, Leaf):
            flat.items[key] = Branch({inner: value}, value.where, {inner: value.where})
    calibrating.expand(flat)
    serving.expand(flat)
    if "stages" in flat.items:
        flat.items["stages"] = long_form(flat.items["stages"])
    for kind in ADAPTERS:
        value = flat.items.get(kind)
        if isinstance(value, Leaf):
            flat.items[kind] = Branch({value.text: Branch({}, value.where)}, value.where, {value.text: value.where})


def _texts(tree: Any) -> Any:
    if isinstance(tree, Leaf):
        return tree.text
    if isinstance(tree, Row):
        return [_texts(item) for item in tree.items]
    return {key: _texts(value) for key, value in tree.items.items()}


def _validated(flat: Branch) -> Document:
    try:
        return Document.model_validate(_texts(flat))
    except ValidationError as error:
        lines = trees.in_order(dict.fromkeys(_problem(flat, one) for one in error.errors()))
        raise SpecError("\n".join(lines)) from None


def _problem(flat: Branch, error: Any) -> str:
    path = list(error["loc"])
    where, key = place(flat, path), ".".join(str(part) for part in path)
    if error["type"] == "missing":
        return f"{where}: missing key {key!r}"
    if error["type"] == "extra_forbidden":
        return _unknown(str(path[-1]), _fields(path), where).replace(
            "found key", f"{'.'.join(map(str, path[:-1]))}: found key"
        )
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if error["type"] in ("dict_type", "model_type"):
        message = "a map, such as {ratio: 1.5}" if path[-2:-1] == ["gates"] else "a map"
    return f"{where}: {key}: found {error['input']!r}, expected {message}"


def _fields(path: Sequence[Any]) -> list[str]:
    if "gates" in path:
        return list(GateEntry.model_fields)
    model: Any = Document
    for part in path[:-1]:
        if isinstance(part, str) and part in getattr(model, "model_fields", {}):
            model = model.model_fields[part].annotation
            model = next((arg for arg in getattr(model, "__args__", ()) if hasattr(arg, "model_fields")), model)
    fields = getattr(model, "model_fields", {})
    return [info.alias or name for name, info in fields.items()]


def _choice(flat: Branch, kind: str) -> AdapterChoice | None:
    tree = flat.items.get(kind)
    if tree is None:
        return None
    if kind == "load" and not _names_an_adapter(tree):
        return AdapterChoice("load", trees.plain(tree), flat.places[kind])
    if kind == "probe":
        tree = _adapters_of(tree)
        if not tree.items:
            return None
    if len(tree.items) != 1:
        names = ", ".join(tree.items) or "nothing"
        raise SpecError(f"{flat.places[kind]}: found {names}, expected one {kind}, such as `{kind}: {{envoy: {{}}}}`")
    name, options = next(iter(tree.items.items()))
    found = trees.plain(options) if isinstance(options, Branch) else None
    if found is None and not (isinstance(options, Leaf) and options.text in ("", "~", "null")):
        raise SpecError(f"{tree.places[name]}: {kind}.{name}: expected a map of options")
    return AdapterChoice(name, found or {}, tree.places[name])


def _adapters_of(probe: Branch) -> Branch:
    """What is left of ``probe`` without the keys that say how often builds are asked; raises SpecError for a typo."""
    left = Branch({key: value for key, value in probe.items.items() if key not in ProbeEntry.model_fields}, probe.where)
    left.places = probe.places
    for key, value in left.items.items():
        if isinstance(value, Leaf) and value.text not in ("", "~", "null"):
            near = get_close_matches(key, ProbeEntry.model_fields, 1, 0.6)
            hint = f"did you mean {near[0]}?" if near else "expected rate, concurrency, prompts, or an adapter's name"
            raise SpecError(f"{probe.places[key]}: probe: found key {key!r}, {hint}")
    return left


def _names_an_adapter(load: Branch) -> bool:
    """Whether a load reads ``{name: {...}}``, and not ``{rate: 100, ...}`` for the one that is built in."""
    first = next(iter(load.items.values()), None)
    return len(load.items) == 1 and (isinstance(first, Branch) or (isinstance(first, Leaf) and not first.text))


def _schema_of_gates(gates: dict[str, Any]) -> dict[str, Any]:
    """A map of gates, in which a preset may stand and gates may be off; or a preset's name alone."""
    preset = {"type": "string", "enum": list(presets.PRESETS)}
    entry = {"anyOf": [gates["additionalProperties"], {"enum": ["off", False]}]}
    return {"anyOf": [preset, {**gates, "properties": {"preset": preset}, "additionalProperties": entry}]}


def schema() -> dict[str, Any]:
    """JSON Schema of a rollout.yaml, for editors."""
    one: dict[str, Any] = Document.model_json_schema(by_alias=True)
    optional = {**one, "required": [], "title": "target"}
    definitions = optional.pop("$defs", {})
    top = {**one, "required": ["service", "targets"]}
    short = {"anyOf": [{"type": ["string", "number"]}, {"type": "array"}]}
    top["properties"] = {
        **one["properties"],
        "stages": short,
        "baseline": {"anyOf": [{"type": "string"}, one["properties"]["baseline"]]},
        "evidence": {"anyOf": [{"type": "string"}, one["properties"]["evidence"]]},
        "control": {"anyOf": [{"type": "boolean"}, one["properties"]["control"]]},
        "calibration": {"anyOf": [{"type": ["string", "boolean"]}, one["properties"]["calibration"]]},
        "model": {"anyOf": [{"type": "string"}, one["properties"]["model"]]},
        "policy": {"anyOf": [{"type": ["string", "number"]}, one["properties"]["policy"]]},
        "gates": _schema_of_gates(one["properties"]["gates"]),
        "warmup": {"anyOf": [{"type": ["string", "number"]}, one["properties"]["warmup"]]},
        "default_target": {"type": "string"},
        "targets": {"type": "object", "additionalProperties": {"$ref": "#/$defs/target"}},
    }
    target = {**optional, "properties": {k: v for k, v in top["properties"].items() if "target" not in k}}
    return {**top, "$defs": {**definitions, "target": target}, "title": "rollout.yaml"}
