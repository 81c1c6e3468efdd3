"""Which model each side serves: told by whoever knows it, compared before any user meets the canary, written down."""

import json
import xml.etree.ElementTree as ET
from hashlib import sha256

import pytest

CHAT = {"body": {"model": "default", "messages": [{"role": "user", "content": "?"}]}}
PROMPTS = "warmup: {for: 1s, requests: 8, concurrency: 1, prompts: p.jsonl}"
HASTY = {"warmup: 0s": PROMPTS}
DIGEST = f"sha256:{'ab' * 32}"


@pytest.fixture
def shop(project):
    """A project whose builds are asked and warmed with prompts; ``probe`` and ``top`` say more."""

    def shop(probe="", top="", metrics="", platform="", **replace):
        home = project.pytester.path / "rollouts/gateway"
        home.mkdir(parents=True, exist_ok=True)
        (home / "p.jsonl").write_text("".join(json.dumps(CHAT) + "\n" for _ in range(3)))
        given = {**HASTY, "probe: {memory: {}}": f"probe: {{memory: {{{probe}}}}}", **replace}
        if top:
            given["service: gateway"] = f"service: gateway\n{top}"
        return project.write(metrics=metrics, platform=platform, replace=given)

    return shop


def properties(path):
    """Row -> its properties in the JUnit."""
    cases = ET.parse(path).getroot().iter("testcase")
    return {case.get("name"): {one.get("name"): one.get("value") for one in case.iter("property")} for case in cases}


def facts(project, kind):
    """What the ledger has of this kind."""
    lines = (project.pytester.path / ".pytest_canary/gateway/memory/ledger.jsonl").read_text().splitlines()
    return [fact["data"] for fact in map(json.loads, lines) if fact["kind"] == kind]


def refused(run):
    """The sentence with which the run ended before any user met the canary."""
    assert run.exit == 1, run.out
    assert set(run.shifts) <= {0.0}
    return run.messages["baseline"]


# from where


def test_both_say_the_same_and_the_row_names_who_said_so(shop):
    """A version without its source is a rumour."""
    run = shop().run()

    assert run.exit == 0, run.out
    assert "model 7 (/v1/models, response body)" in run.messages["baseline"]


def test_another_list_of_models_is_refused(shop):
    """`/v1/models` is asked first."""
    assert "the canary serves 8 (/v1/models), the baseline 7 (/v1/models): their numbers cannot be compared" in refused(
        shop(platform="models: {v2: '8'}").run()
    )


def test_a_checkpoint_that_only_its_answers_tell_is_refused(shop):
    """The alias is the same; `system_fingerprint` is not."""
    said = refused(shop("models: {v1: [llama-3-8b@fp_43], v2: [llama-3-8b@fp_44]}", platform="model: llama-3-8b").run())

    assert "the canary serves llama-3-8b@fp_44 (response body), the baseline llama-3-8b@fp_43 (response body)" in said
    assert "or leave fingerprints out: `model: {from: [models, header, answers, labels]}`" in said


def test_fingerprints_can_be_left_out(shop):
    """Some name the engine, which is what is shipped."""
    run = shop(
        "models: {v1: [llama@fp_43], v2: [llama@fp_44]}", "model: {from: [models, answers]}", platform="model: llama"
    ).run()

    assert run.exit == 0, run.out


def test_fingerprints_of_engines_are_no_models(shop):
    """VLLM's has its own version and a hash of its flags."""
    run = shop(
        "models: {v1: [llama@vllm-0.32.0-59ee4e3a], v2: [llama@vllm-0.33.0-0badcafe]}", platform="model: llama"
    ).run()

    assert run.exit == 0, run.out


HEADER = "headers: {v1: {x-model-version: '43'}, v2: {x-model-version: '%s'}}"


def test_a_response_header_tells_the_version(shop):
    """Where a gateway hides everything else."""
    top = "model: {header: x-model-version, from: [header]}"

    assert shop(HEADER % 43, top).run().exit == 0
    assert "the canary serves 44 (response header), the baseline 43 (response header)" in refused(
        shop(HEADER % 44, top).run("--canary-state=elsewhere")
    )


def test_a_header_that_one_side_does_not_send_is_unknown(shop):
    """And unknown is not equal."""
    run = shop("headers: {v2: {x-model-version: '43'}}", "model: {header: x-model-version}").run()

    assert "the baseline does not send the header x-model-version, and unknown is not equal" in refused(run)


def test_labels_of_the_metrics_tell_the_model(shop):
    """Such as vLLM's `model_name`."""
    labels = "models: {v1: {a: llama@1, b: llama@1}, v2: {c: llama@2}}"
    run = shop(top="model: {from: [labels]}", metrics=labels).run()

    assert "the canary serves llama@2 (metric labels), the baseline llama@1 (metric labels)" in refused(run)


def test_a_label_that_contradicts_the_answers_is_refused(shop):
    """One of them is wrong, and nobody knows which."""
    said = refused(shop(metrics="models: {v2: {a: llama}, v1: {a: llama}}", probe="models: {v1: [llama], v2: [qwen]}",
                        platform="model: null").run())  # fmt: skip

    assert "the canary serves qwen (response body) and llama (metric labels), which cannot both be right" in said


def test_replicas_that_answer_with_two_versions_are_refused(shop):
    """Half a rollout of a model is none."""
    said = refused(shop("models: {v2: [llama@fp_1, llama@fp_2]}", platform="model: null").run())

    assert (
        "the canary serves two versions, llama@fp_1 and llama@fp_2 (response body): its replicas are not alike" in said
    )


def test_replicas_that_count_under_two_models_are_refused(shop):
    """The same, by labels."""
    said = refused(shop(metrics="models: {v1: {a: llama@1, b: llama@2}}", platform="model: null").run())

    assert "the baseline serves two versions, llama@1 and llama@2 (metric labels)" in said


def test_nobody_says_and_unknown_is_not_equal(shop):
    """With all that may be written."""
    said = refused(shop(top="model: {from: [models]}", platform="model: null").run())

    assert "neither side says which model version it serves, and unknown is not equal; state it" in said
    assert "`model: none` if it has none" in said


# stated


@pytest.mark.parametrize("top", ["model: v7", "model: {baseline: v7, canary: v7}"])
def test_what_is_stated_stands_where_nobody_says(shop, top):
    """For both at once, or each."""
    run = shop(top=top, platform="model: null").run()

    assert run.exit == 0, run.out
    assert "model v7 (stated)" in run.messages["baseline"]


def test_what_is_stated_hides_no_difference(shop):
    """Two builds that say two things are not made one by a line in a file."""
    assert "the canary serves 8 (/v1/models)" in refused(shop(top="model: v7", platform="models: {v2: '8'}").run())


def test_a_registry_reference_is_its_digest(shop):
    """Wherever it is pulled from."""
    top = "model: {baseline: 'mirror/llama@%s', canary: 'registry/models/llama@%s'}"
    same = shop(top=top % (DIGEST, DIGEST), platform="model: null").run()
    other = shop(top=top % (DIGEST, DIGEST.replace("ab", "cd")), platform="model: null").run("--canary-state=elsewhere")

    assert same.exit == 0, same.out
    assert "the canary serves registry/models/llama@sha256:cdcdcdcdcdcd (registry reference)" in refused(other)


def test_a_file_is_its_digest_and_is_read_once(shop, project):
    """A model has many gigabytes."""
    home = project.pytester.path / "rollouts/gateway"
    run = None
    for name in ("old", "new"):
        (home / name).mkdir(parents=True)
        (home / name / "model.safetensors").write_bytes(b"weights")
    for _ in range(2):
        run = shop(top="model: {baseline: {file: old}, canary: {file: new}}", platform="model: null").run(
            "--canary-again"
        )
    listed = f"{sha256(b'weights').hexdigest()}  model.safetensors\n"
    digest = f"sha256:{sha256(listed.encode()).hexdigest()}"
    cache = json.loads((project.pytester.path / ".pytest_canary/gateway/memory/digests.json").read_text())

    assert run.exit == 0, run.out
    assert f"old is {digest[:19]}" in run.messages["digests"]
    assert set(cache.values()) == {digest}
    assert len(cache) == 2


def test_another_file_is_another_model(shop, project):
    """One byte is enough."""
    home = project.pytester.path / "rollouts/gateway"
    home.mkdir(parents=True)
    (home / "a.bin").write_bytes(b"one")
    (home / "b.bin").write_bytes(b"two")
    run = shop(top="model: {baseline: {file: a.bin}, canary: {file: b.bin}}", platform="model: null").run()

    assert f"the canary serves b.bin@sha256:{sha256(b'two').hexdigest()[:12]} (file digest)" in refused(run)


# no model


@pytest.mark.parametrize("top", ["model: none", "same_model: false"])
def test_a_service_without_a_model_is_left_alone(shop, top):
    """Neither asked, nor made strict."""
    run = shop(top=top, platform="model: null").run()

    assert run.exit == 0, run.out
    assert "model" not in run.messages["baseline"]
    assert "canary model change" not in run.out


# a model change


def test_a_model_change_is_said_in_the_plan_in_the_row_and_in_the_report(shop):
    """What is stricter, what is missing, and where the advice stands."""
    run = shop(
        top="same_model: false\nmodel: {}", platform="models: {v2: '8'}", **{"hold: 10s\n": "", "deadline: 120s\n": ""}
    ).run()

    assert run.exit == 0, run.out
    assert (
        "canary model change: two models are compared; hold 10m, deadline 1h unless the file says otherwise" in run.out
    )
    assert "canary model change: no gate looks at what answers are worth, refusals and the length of answers" in run.out
    assert "5% for 600 s" in run.out
    assert "see docs/model-changes.md" in run.out
    assert (
        "model change: from 7 (/v1/models, response body) to 8 (/v1/models, response body)" in run.messages["baseline"]
    )


def test_two_models_that_nobody_has_announced_are_said(shop):
    """`same_model: false` of a plain service lets them through, and does not hide them."""
    run = shop(top="same_model: false", platform="models: {v2: '8'}").run()

    assert run.exit == 0, run.out
    assert "two models are compared, by defaults that are made for one; write `model: {}` beside" in run.out


# the pin


def test_the_pin_stands_in_the_ledger_the_junit_and_the_report(shop, project):
    """Image, model and policy of both, before any user meets the canary."""
    top = "policy: {baseline: p6, canary: p7}\nkeep: true"
    run = shop(top=top).run("--canary-report=out.json")
    report = json.loads((project.pytester.path / "out.json").read_text())
    noted = facts(project, "pins")[-1]
    rows = properties(project.pytester.path / "out.xml")

    assert run.exit == 0, run.out
    assert noted["canary"] == report["pins"]["canary"] == report["pins"]["stable"]
    assert noted["stable"] == report["pins"]["previous"]
    assert (noted["stable"]["model"], noted["stable"]["policy"]) == ("7", "p6")
    assert noted["canary"]["digest"].startswith("sha256:")
    assert noted["canary"]["model_said_by"] == {"/v1/models": "7", "response body": "7"}
    assert rows["baseline"]["canary.canary.policy"] == "p7"
    assert rows["promote"]["canary.stable.pin"] == noted["canary"]["pin"]
    assert "model 7 (/v1/models, response body), policy p7" in run.out


def test_a_rollback_restores_the_pin_that_was_noted(shop, project, world_of):
    """What serves afterwards is what was written down before the ramp: image, model and policy."""
    top = "policy: {baseline: p6, canary: p7}\nkeep: true\ncanary: {model: '7'}"
    run = shop(top=top).run("--canary-report=out.json", image="gateway:v2-errors")
    report = json.loads((project.pytester.path / "out.json").read_text())
    noted = facts(project, "pins")[-1]

    assert run.exit == 1, run.out
    assert run.did("weights")
    assert noted["canary"]["pin"] != noted["stable"]["pin"]
    assert report["pins"]["stable"] == noted["stable"]
    assert facts(project, "settled")[-1]["pins"]["stable"] == noted["stable"]
    assert list(world_of()["running"]) == [noted["stable"]["pin"]]
    assert properties(project.pytester.path / "out.xml")["rollback"]["canary.stable.policy"] == "p6"
