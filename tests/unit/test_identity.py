"""Who says which model a side serves, whether they agree, and whether both sides serve the same."""

from itertools import permutations

import pytest

from pytest_canary.errors import ModelMismatch
from pytest_canary.identity import Heard, Identity, Said, Source, Wanted, answered, differ, of_models, settled
from pytest_canary.ports import Answer, Fault, Prompt

MODELS, ANSWERS, LABELS, HEADER = Source.MODELS, Source.ANSWERS, Source.LABELS, Source.HEADER
STATED, REGISTRY, FILE = Source.STATED, Source.REGISTRY, Source.FILE
DIGESTS = [f"sha256:{letter * 64}" for letter in "ab"]


def identity(**said):
    """``models="m@1"`` and so on, as one side's identity."""
    return settled("canary", [Said.by(Source[name.upper()], text) for name, text in said.items()])


# one side


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"models": "m@1"}, "m@1"),
        ({"models": "m", "header": "7"}, "m@7"),
        ({"header": "m@7"}, "m@7"),
        ({"answers": "m@fp_1", "models": "m@3"}, "m@3"),
        ({"answers": "m@fp_1", "models": "m"}, "m@fp_1"),
        ({"stated": "mine", "models": "m@3"}, "mine"),
        ({"labels": "@7", "answers": "m"}, "m@7"),
        ({"models": "a@1 + b@2", "answers": "b"}, "a@1 + b@2"),
    ],
)
def test_what_a_side_serves_is_named_by_the_best_there_is(said, text):
    """A statement first, then name and version of whoever has them."""
    assert identity(**said).text == text


@pytest.mark.parametrize(
    "said",
    [
        {"models": "gpt-4o", "answers": "openai/gpt-4o-2024-08-06"},
        {"models": "Llama-3@/models/llama", "labels": "llama-3", "header": "7"},
        {"models": "m@v7", "header": "7"},
        {"models": "m@7", "answers": "m@fp_44"},
        {"stated": "whatever", "models": "m@7"},
        {"registry": f"hub/llama@{DIGESTS[0]}", "models": "m@7"},
        {"file": f"w.bin@{DIGESTS[0]}", "header": "7"},
        {"stated": "m@7", "models": "m@7"},
        {"models": "17 models, 0a1b2c3d", "answers": "m"},
        {"models": "a + b", "answers": "b", "labels": "a + b"},
    ],
)
def test_names_that_may_mean_one_model_are_no_contradiction(said):
    """Aliases, paths and fingerprints are other words for it."""
    assert identity(**said).said


@pytest.mark.parametrize(
    ("said", "one", "other"),
    [
        ({"models": "llama", "answers": "qwen"}, "llama (/v1/models)", "qwen (response body)"),
        ({"labels": "llama", "answers": "qwen"}, "qwen (response body)", "llama (metric labels)"),
        ({"models": "m@7", "header": "8"}, "m@7 (/v1/models)", "8 (response header)"),
        ({"models": "m@7", "labels": "@8"}, "m@7 (/v1/models)", "8 (metric labels)"),
        ({"stated": "m@7", "models": "m@8"}, "m@7 (stated)", "m@8 (/v1/models)"),
    ],
)
def test_two_sources_that_cannot_both_be_right_are_refused(said, one, other):
    """With both, who says them, and how to choose."""
    with pytest.raises(ModelMismatch) as refused:
        identity(**said)

    assert str(refused.value).startswith(f"the canary serves {one} and {other}, which cannot both be right;")
    assert "`model: {from: [" in str(refused.value)


def test_one_source_that_says_two_things_is_refused():
    """A replica set that is half rolled out."""
    with pytest.raises(ModelMismatch, match=r"the baseline serves two versions, m@1 and m@2 \(metric labels\)"):
        settled("baseline", [Said.by(LABELS, "m@1"), Said.by(LABELS, "m@2")])


def test_the_order_in_which_they_speak_does_not_matter():
    """Nor does saying it twice."""
    said = [Said.by(MODELS, "m@1"), Said.by(ANSWERS, "m"), Said.by(LABELS, "m"), Said.by(HEADER, "1")]

    assert {settled("canary", [*order, order[0]]) for order in permutations(said)} == {settled("canary", said)}


# both sides


@pytest.mark.parametrize(
    ("baseline", "canary"),
    [
        ({"models": "m@1"}, {"models": "m@1"}),
        ({"models": "m@1"}, {"models": "m@1", "answers": "m@fp_1"}),
        ({"stated": "m@1"}, {"models": "m@1"}),
        ({"stated": "7"}, {"models": "m@7"}),
        ({"stated": "7"}, {"stated": "7"}),
        ({"models": "m@7"}, {"header": "m@7"}),
        ({"registry": f"a/llama@{DIGESTS[0]}"}, {"file": f"w.bin@{DIGESTS[0]}"}),
    ],
)
def test_the_same_model_is_the_same_whoever_says_so(baseline, canary):
    """In both directions."""
    one, other = identity(**baseline), identity(**canary)

    assert differ(one, other) == ""
    assert differ(other, one) == ""


@pytest.mark.parametrize(
    ("baseline", "canary"),
    [
        ({"models": "m@1"}, {"models": "m@2"}),
        ({"models": "m", "answers": "m@fp_43"}, {"models": "m", "answers": "m@fp_44"}),
        ({"stated": "7"}, {"stated": "8"}),
        ({"stated": "7", "models": "m@1"}, {"stated": "7", "models": "m@2"}),
        ({"stated": "m"}, {"models": "m@7"}),
        ({"models": "m"}, {"models": "m", "stated": "v8"}),
        ({"models": "m@7"}, {"answers": "m"}),
        ({"registry": f"a/llama@{DIGESTS[0]}"}, {"registry": f"a/llama@{DIGESTS[1]}"}),
    ],
)
def test_what_differs_or_is_not_known_to_be_the_same_is_refused(baseline, canary):
    """In both directions; a name without a version is no version."""
    one, other = identity(**baseline), identity(**canary)

    assert "their numbers cannot be compared" in differ(one, other)
    assert "their numbers cannot be compared" in differ(other, one)


@pytest.mark.parametrize(
    ("baseline", "canary", "who"),
    [({}, {}, "neither side says"), ({}, {"models": "m"}, "the baseline does not say"),
     ({"models": "m"}, {}, "the canary does not say")],
)  # fmt: skip
def test_unknown_is_not_equal(baseline, canary, who):
    """Not even to unknown."""
    assert differ(identity(**baseline), identity(**canary)).startswith(f"{who} which model version it serves")


def test_the_sentence_stays_on_one_line_of_a_terminal_with_digests_cut():
    """64 hex digits help nobody."""
    said = differ(identity(registry=f"a/llama@{DIGESTS[0]}"), identity(registry=f"a/llama@{DIGESTS[1]}"))

    assert "a/llama@sha256:bbbbbbbbbbbb (registry reference)" in said
    assert len(said) < 240


# what answers say


def test_answers_about_two_models_are_compared_apart():
    """One gateway, two models, one file of prompts."""
    heard = [Heard("small", "s", "fp_1"), Heard("large", "l", "fp_2"), Heard("small", "s")]

    assert [str(one) for one in answered(heard, Wanted())] == ["l@fp_2 + s@fp_1"]


def test_answers_that_differ_about_one_model_are_two_sayings():
    """So that the replica set is refused."""
    heard = [Heard("default", "m", "fp_1"), Heard("default", "m", "fp_2")]

    assert answered(heard, Wanted()) == [Said(ANSWERS, "m", "fp_1"), Said(ANSWERS, "m", "fp_2")]
    assert answered(heard, Wanted(sources=("answers",))) == [Said(ANSWERS, "m")]
    assert answered(heard, Wanted(sources=("models",))) == []


def test_what_an_error_says_counts_for_nothing():
    """A proxy's error page may name anything."""
    prompt, good = Prompt(body={"model": "m"}), Answer(200, 0.1, model="m", headers={"x-version": " 7 "})
    failed = Answer(200, 0.1, model="m", error="cut", fault=Fault.TRUNCATED)

    assert Heard.of(prompt, good, "X-Version") == Heard("m", "m", "", "7")
    assert Heard.of(prompt, failed, "") == Heard()
    assert Heard.of(prompt, Answer(503, 0.1, model="m"), "") == Heard()


@pytest.mark.parametrize("engine", ["vllm-0.32.0-59ee4e3a", "b5000-1f2e3d4c"])
def test_the_fingerprint_of_an_engine_is_none_of_a_model(engine):
    """A new engine under the same model is the rollout there is most of."""
    assert Heard.of(Prompt(), Answer(200, 0.1, model="m", fingerprint=engine), "").fingerprint == ""
    assert Heard.of(Prompt(), Answer(200, 0.1, model="m", fingerprint="fp_44"), "").fingerprint == "fp_44"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"data": [{"id": "m"}]}, "m"),
        ({"data": [{"id": "m", "root": "m"}]}, "m"),
        ({"data": [{"id": "m", "root": "/models/m", "version": 7}]}, "m@7"),
        ({"data": [{"id": "m", "root": "/models/m"}]}, "m@/models/m"),
        ({"data": [{"id": "b"}, {"id": "a", "version": "1"}]}, "a@1 + b"),
        ({"data": []}, None), ({}, None), ([], None), ({"data": "m"}, None), ({"data": [{"id": 7}, None]}, None),
    ],
)  # fmt: skip
def test_the_list_of_models_is_read_whatever_it_holds(data, said):
    """All of them: the first is not the one that answers."""
    assert of_models(data) == said


def test_a_long_list_of_models_is_told_by_its_number_in_any_order():
    """A proxy may have two hundred."""
    names = "abcde"
    told = {of_models({"data": [{"id": name} for name in order]}) for order in list(permutations(names))[:10]}

    assert len(told) == 1
    assert told.pop().startswith("5 models, ")
    assert of_models({"data": [{"id": name} for name in "abcdf"]}) not in told


def test_nobody_has_said_anything_of_an_empty_identity():
    """It stands for what is not known yet."""
    assert (Identity().text, Identity().own, Identity().by(MODELS)) == ("", None, None)
