"""What the file says of models, written out; and what is stricter where another model is shipped."""

from __future__ import annotations

from pytest_canary.spec.document import Document
from pytest_canary.spec.tree import Branch, Leaf
from pytest_canary.spec.units import FALSE

NO_MODEL = ("none", "null", "~", *FALSE)
STRICTER = {"hold": 600.0, "min_requests": 1000, "deadline": 3600.0}
"""Twice the defaults: what differs by nature takes longer to be told from what is worse."""
WORDS = {"hold": "hold 10m", "min_requests": "min_requests 1000", "deadline": "deadline 1h"}
FIRST = 0.05
"""Share of the first stage at most."""
LOOKED_AT = {
    "what answers are worth": ("quality", "hallucination_rate", "feedback_negative_rate"),
    "refusals": ("refusal_rate", "error_or_refusal_rate"),
    "the length of answers": ("output_tokens",),
}
"""What another model changes first, and how the gates on it begin."""
OF_MODELS = (*(name for names in LOOKED_AT.values() for name in names), "input_tokens", "inter_token", "cost_per")
"""How gates begin that only a model can have."""


def expand(flat: Branch) -> None:
    """Write ``model: none``, ``model: llama@3`` (of both sides) and ``policy: p7`` (of the canary) out."""
    model, policy = flat.items.get("model"), flat.items.get("policy")
    if isinstance(model, Leaf) and model.text.lower() in NO_MODEL:
        flat.items["model"] = Branch({"on": Leaf("false", model.where)}, model.where, {"on": model.where})
    elif isinstance(model, Leaf):
        sides = ("baseline", "canary")
        flat.items["model"] = Branch(dict.fromkeys(sides, model), model.where, dict.fromkeys(sides, model.where))
    if isinstance(policy, Leaf):
        flat.items["policy"] = Branch({"canary": policy}, policy.where, {"canary": policy.where})


def changes(document: Document, *, preset: bool) -> bool:
    """Whether another model is shipped on purpose: ``same_model: false`` in a file that speaks of a model.

    A web server with ``same_model: false`` has none; one that says ``model: none`` says so.
    """
    if document.same_model or not document.model.served:
        return False
    speaks = {"model", "cost"} & document.model_fields_set or document.canary.model or preset
    return bool(speaks) or any(name.startswith(OF_MODELS) for name in document.gates)


def stricter(document: Document, *, preset: bool) -> tuple[Document, tuple[str, ...]]:
    """``document`` with stricter defaults where another model is shipped, and in words what they are."""
    if not changes(document, preset=preset):
        return document, ()
    unsaid = {key: value for key, value in STRICTER.items() if key not in document.model_fields_set}
    deadlines = (document.deadline, *(stage.deadline for stage in document.stages))
    if any(0 < (each or 0) < STRICTER["hold"] for each in deadlines):
        unsaid.pop("hold", None)  # a deadline that somebody has written is to be kept
    said = [WORDS[key] for key in unsaid]
    first = f"two models are compared; {', '.join(said)} unless the file says otherwise" if said else ""
    return document.model_copy(update=unsaid), (
        first or "two models are compared, with what the file says",
        *_missing(document),
    )


def _missing(document: Document) -> list[str]:
    """What is advised and not there."""
    lines = list[str]()
    first = document.stages[0].weight
    if first > FIRST:
        lines.append(f"the first stage is {first:.0%} of all users, at most {FIRST:.0%} is advised")
    names = {*document.gates, *(name for stage in document.stages for name in stage.gates)}
    unseen = [what for what, gates in LOOKED_AT.items() if not any(name.startswith(gates) for name in names)]
    if unseen:
        lines.append(f"no gate looks at {' and '.join(', '.join(unseen).rsplit(', ', 1))}")
    return lines
