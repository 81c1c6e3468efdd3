"""The built-in profiles: what servers really expose, scraped by a real Prometheus, comes out as canonical numbers."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydantic import ValidationError

from pytest_canary.adapters.clock import SystemClock
from pytest_canary.adapters.profiles.profile import BUILT_IN, FOLDER, PARTS, PROXIES, load
from pytest_canary.adapters.prometheus import PrometheusMetrics
from pytest_canary.adapters.scrape import ScrapeMetrics
from pytest_canary.command.check import ways
from pytest_canary.errors import SourceUnavailable, UsageError
from pytest_canary.gates import metric, names
from pytest_canary.ports import Role
from tests.adapters.contracts import BOTH, NOWHERE, Bench
from tests.adapters.pages import page
from tests.prometheus.servers import exposing, prometheus, told, until

BASELINE, CANARY = Role.BASELINE, Role.CANARY
EXPOSED = Path(__file__).parents[1] / "resources" / "exposition"
SHOP = {"namespace": "shop", "service": "gw", "port": "80", "deployment": "gw", "pod": "gw-[^-]+-[^-]+"}
MODELS = {"baseline": {"gen_ai_request_model": "llama-a"}, "canary": {"gen_ai_request_model": "llama-b"}}
ROLES = {
    "envoy": {"baseline": {"envoy_cluster_name": "gw-old"}, "canary": {"envoy_cluster_name": "{service}"}},
    "envoy-ai-gateway": MODELS,
    "otel-genai": MODELS,
    "otel-genai-client": MODELS,
    "nginx": {
        "baseline": {"exported_namespace": "{namespace}", "ingress": "{service}", "canary": ""},
        "canary": {"canary": "{namespace}-{service}-canary-{port}"},
    },
}
"""What a target has to say where no router tells it."""

ENVOY = {
    "requests": 33,
    "errors": 2,
    "client_errors": 1,
    "resets": 1,
    "timeouts": 1,
    "latency": (33, 0.9),
    "in_flight": 1,
    "queue": 2,
}
GENAI = {
    "requests": 43,
    "errors": 2,
    "client_errors": 1,
    "input_tokens": 4000,
    "cached_input_tokens": 400,
    "output_tokens": 1600,
    "latency": (43, 20.02),
    "ttft": (40, 2),
    "itl": (40, 0.2),
    "histogram input_tokens": (40, 4000),
    "histogram output_tokens": (40, 1600),
}
EXPECTED = {
    "demo-gateway": {
        "requests": 16,
        "errors": 2,
        "client_errors": 2,
        "refusals": 3,
        "input_tokens": 90,
        "output_tokens": 600,
        "latency": (16, 3),
        "ttft": (12, 0.5),
        "itl": (100, 4),
        "histogram output_tokens": (12, 600),
        "in_flight": 3,
    },
    "dynamo": {
        "requests": 28,
        "errors": 2,
        "client_errors": 2,
        "input_tokens": 2800,
        "cached_input_tokens": 700,
        "output_tokens": 900,
        "latency": (28, 60),
        "ttft": (28, 3),
        "itl": (900, 12),
        "histogram input_tokens": (28, 2800),
        "histogram output_tokens": (28, 900),
        "in_flight": 5,
        "queue": 1,
    },
    "vllm": {  # a real one: 27 were answered, two were being answered
        "requests": 27,
        "errors": 5,
        "client_errors": 3,
        "engine_errors": 0,
        "turned_away": 5,
        "cut_by_length": 18,
        "preemptions": 0,
        "input_tokens": 1224,
        "cached_input_tokens": 512,
        "output_tokens": 1573,
        "cache_hits": 512,
        "cache_queries": 1224,
        "latency": (19, 1.7264492511749268),
        "ttft": (21, 0.8439595699310303),
        "itl": (1552, 4.88305420197139),
        "queue_time": (19, 0.00029613902734126896),
        "histogram input_tokens": (19, 1184),
        "histogram output_tokens": (19, 296),
        "in_flight": 2,
        "queue": 0,
        "kv_cache": 0.06030150753768848,
    },
    "sglang": {
        "requests": 45,
        "errors": 2,
        "client_errors": 3,
        "aborted": 1,
        "input_tokens": 8000,
        "cached_input_tokens": 2000,
        "output_tokens": 1000,
        "cache_hits": 2000,
        "cache_queries": 8000,
        "latency": (40, 20),
        "ttft": (40, 3),
        "itl": (960, 10),
        "queue_time": (40, 1),
        "in_flight": 5,
        "queue": 1,
        "kv_cache": 0.5,
    },
    "tgi": {
        "requests": 31,
        "errors": 2,
        "client_errors": 2,
        "input_tokens": 2600,
        "output_tokens": 520,
        "latency": (26, 30),
        "itl": (26, 0.8),
        "queue_time": (26, 0.1),
        "histogram input_tokens": (26, 2600),
        "histogram output_tokens": (26, 520),
        "in_flight": 7,
        "queue": 3,
    },
    "trtllm-serve": {
        "requests": 10,
        "cut_by_length": 1,
        "latency": (10, 6),
        "ttft": (10, 1),
        "itl": (10, 0.05),
        "queue_time": (10, 0.2),
        "in_flight": 5,
        "queue": 1,
        "kv_cache": 0.5,
    },
    "triton": {
        "requests": 56,
        "errors": 4,
        "latency_sum": 2.5,
        "latency_count": 50,
        "queue_time_sum": 0.5,
        "queue_time_count": 50,
        "cache_hits": 5,
        "cache_queries": 20,
        "ttft": (50, 12.5),
        "in_flight": 2,
        "queue": 2,
        "gpu_utilisation": 0.6,
        "gpu_memory": 0.375,
    },
    "litellm": {
        "requests": 34,
        "errors": 6,
        "client_errors": 4,
        "input_tokens": 240,
        "cached_input_tokens": 30,
        "output_tokens": 376,
        "cache_hits": 4,
        "cache_queries": 24,
        "cost": 0.0002076,
        "upstream_requests": 35,
        "upstream_errors": 7,
        "latency": (24, 2.3369197),
        "ttft": (8, 0.305097),
        "itl": (24, 0.1410103),
        "queue_time": (24, 0.1975067),
        "in_flight": 3,
    },
    "mlserver": {
        "requests": 132,
        "errors": 6,
        "client_errors": 2,
        "latency": (132, 10.131532403029269),
        "in_flight": 3,
    },
    "kserve": {"requests": 12, "latency": (12, 1.2)},
    "ray-serve": {  # a real one: 25 were answered, three are at work and two wait
        "requests": 25,
        "errors": 4,
        "client_errors": 4,
        "latency": (25, 1.03),
        "in_flight": 5,
        "queue": 2,
    },
    "inference-service": {
        "requests": 200,
        "errors": 4,
        "hallucinations": 6,
        "latency": (200, 40),
        "gauge quality": 0.9,
    },
    "podinfo": {"requests": 18, "errors": 2, "client_errors": 0, "latency": (18, 0.901)},
    "linkerd": {"requests": 25, "errors": 3, "client_errors": 2, "ttft": (20, 0.16), "in_flight": 2},
    "istio": {"requests": 75, "errors": 2, "client_errors": 3, "latency": (70, 4.2)},
    "contour": ENVOY,
    "envoy": ENVOY,
    "traefik": {"requests": 61, "errors": 1, "client_errors": 3, "latency": (55, 6)},
    "nginx": {"requests": 22, "errors": 2, "client_errors": 1, "latency": (18, 2)},
    "envoy-ai-gateway": GENAI,
    "otel-genai": GENAI,
    "otel-genai-client": GENAI,
}
"""Profile -> what its file under ``resources/exposition`` says: counters, gauges, and (number, sum) of histograms."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One Prometheus for all of them."""
    pods = {"quick": len(EXPECTED) + 16, "exporter": 1}
    with prometheus(tmp_path_factory.mktemp("prometheus"), pods) as running:
        yield running


@pytest.fixture(scope="module")
def pods(server):
    """A pod for each profile, which says what that server would."""
    placed = dict(zip(EXPECTED, server.take(len(EXPECTED), "quick"), strict=True))
    with ExitStack() as held:
        for name, pod in placed.items():
            held.enter_context(exposing(pod, (EXPOSED / f"{name}.txt").read_text()))
        for pod in placed.values():
            server.wait(pod)
        yield placed


@pytest.fixture
def bench(tmp_path):
    """A target in a folder of its own."""
    return Bench(tmp_path, SystemClock())


@pytest.fixture
def held():
    """What is ended after the test."""
    with ExitStack() as stack:
        yield stack


def source(bench, url, router=None, **options):
    """The metric source, and what a router tells of each role."""
    shared = bench.shared()
    shared.labels.update(router or {})
    return PrometheusMetrics.connect(PrometheusMetrics.Options.model_validate({"url": url, **options}), shared)


def reads(bench, server, name, pod, **options):
    """A source as it would be written for ``name``: by pods where they count, by Services where a proxy does."""
    by_proxy = {"labels": {"instance": pod.target}} if name in PROXIES and name != "linkerd" else {}
    roles = {"roles": ROLES[name]} if name in ROLES else {}
    router = dict.fromkeys(BOTH, SHOP if by_proxy else told(pod))
    return source(bench, server.url, router, **by_proxy, **roles, **options)


def shown(sample):
    """Every number of ``sample`` by name; one that a counter has too says what it is."""
    found = dict(sample.counters)
    for name, one in sample.histograms.items():
        known = f"histogram {name}" if name in found else name
        found |= {f"{known} number": one.number, f"{known} sum": one.total} if one.number else {}
    return found | {f"gauge {name}" if name == "quality" else name: value for name, value in sample.gauges.items()}


def flat(expected):
    """The same for what is expected: a pair is the number and the sum of a histogram."""
    pairs = {name: value for name, value in expected.items() if isinstance(value, tuple)}
    numbers = {
        f"{name} {what}": n for name, pair in pairs.items() for what, n in zip(("number", "sum"), pair, strict=True)
    }
    return numbers | {name: value for name, value in expected.items() if name not in pairs}


# -- what servers expose ----------------------------------------------------------------------------------------------


def test_every_built_in_profile_has_an_exposition_here():
    """What was never read may be misspelt."""
    assert set(EXPECTED) == set(BUILT_IN)
    assert {path.stem for path in EXPOSED.glob("*.txt")} == {*BUILT_IN, *PARTS}
    assert {path.stem for path in FOLDER.glob("*.toml")} == {*BUILT_IN, *PARTS}


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_a_server_exposes_comes_out_as_canonical_numbers(name, server, pods, bench):
    """Seconds and shares, without probes, other builds, other directions and other ranks."""
    sample = reads(bench, server, name, pods[name], profile=name).poll([CANARY])[CANARY]

    assert shown(sample) == pytest.approx(flat(EXPECTED[name]))


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_same_numbers_come_out_without_a_prometheus_in_between(name, bench, held):
    """One file, two sources: what a profile means does not hang on who reads by it."""
    shared = bench.shared()
    shared.labels.update(dict.fromkeys(BOTH, SHOP))
    shown_page = held.enter_context(page((EXPOSED / f"{name}.txt").read_text()))
    other = held.enter_context(page("nothing 1\n"))
    match = {role: {"match": told} for role, told in ROLES.get(name, {}).items()}
    roles = {"baseline": {"urls": [other.url]}, "canary": {"urls": [shown_page.url]}}
    options = {"profile": name, "roles": {role: roles[role] | match.get(role, {}) for role in roles}}
    made = ScrapeMetrics.connect(ScrapeMetrics.Options.model_validate(options), shared)
    sample = made.poll([CANARY])[CANARY]
    made.stop()

    assert shown(sample) == pytest.approx(flat(EXPECTED[name]))


@pytest.mark.parametrize("name", [name for name in BUILT_IN if load(name, Path()).replica])
def test_a_page_is_known_by_what_it_exposes_and_taken_for_no_other(name, bench, held):
    """As Prometheus finds it out, for servers that count themselves."""
    roles = {role: [held.enter_context(page((EXPOSED / f"{name}.txt").read_text())).url] for role in BOTH}
    made = ScrapeMetrics.connect(ScrapeMetrics.Options(roles=roles), bench.shared())
    made.poll(BOTH)
    made.stop()
    (note,) = [fact.data for fact in bench.facts if "profile" in fact.data]

    assert note["say"].startswith(f"metrics are read by profile {name}, found out; ")


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_server_is_known_by_what_it_exposes_and_taken_for_no_other(name, server, pods, bench):
    """A wrong profile would count something, and judge by it."""
    reads(bench, server, name, pods[name]).poll([BASELINE])
    (note,) = [fact.data for fact in bench.facts if "profile" in fact.data]

    assert note["profile"] == name
    fits_too = re.findall(r"\((.*) would fit too\)", note["say"])
    assert fits_too == (["otel-genai"] if name == "envoy-ai-gateway" else [])


def test_a_build_behind_a_proxy_is_read_by_its_own_metrics_and_the_proxy_is_named(server, bench, held):
    """In a mesh both count: the build knows what a token is, the proxy does not."""
    (pod,) = server.take(1, "quick")
    text = (EXPOSED / "vllm.txt").read_text() + (EXPOSED / "linkerd.txt").read_text()
    held.enter_context(exposing(pod, text))
    server.wait(pod)
    source(bench, server.url, {BASELINE: told(pod)}).poll([BASELINE])
    (note,) = [fact.data for fact in bench.facts if "profile" in fact.data]

    assert note["profile"] == "vllm"
    assert "(linkerd would fit too)" in note["say"]


def test_workers_behind_another_front_end_are_not_taken_for_a_server_of_requests(server, bench, held):
    """They have vLLM's numbers and no HTTP server: nothing would ever be counted."""
    (pod,) = server.take(1, "quick")
    text = (EXPOSED / "vllm.txt").read_text()
    held.enter_context(exposing(pod, "".join(x for x in text.splitlines(True) if "http_" not in x)))
    server.wait(pod)

    with pytest.raises(SourceUnavailable, match="that a built-in profile knows"):
        source(bench, server.url, {BASELINE: told(pod)}).poll([BASELINE])


def test_gpus_are_told_by_their_exporter_and_belong_to_the_pod_that_it_names(server, pods, bench, held):
    """It runs on each node, and is neither of the builds."""
    (exporter,) = server.take(1, "exporter")
    pod = pods["vllm"]
    held.enter_context(exposing(exporter, (EXPOSED / "gpu.txt").read_text().replace("POD", pod.name)))
    until(lambda: server.ask(f'DCGM_FI_DEV_GPU_UTIL{{pod="{pod.name}"}}'))
    sample = reads(bench, server, "vllm", pod, profile="vllm").poll([CANARY])[CANARY]

    assert (sample.gauges["gpu_utilisation"], sample.gauges["gpu_memory"]) == (pytest.approx(0.6), 0.75)
    assert sample.replicas[pod.name].gauges["gpu_memory"] == 0.75
    assert sample.counters["requests"] == EXPECTED["vllm"]["requests"]


def test_a_part_without_requests_is_extended_and_no_profile_by_itself(server, bench, held):
    """llama.cpp counts tokens and no requests."""
    (pod,) = server.take(1, "quick")
    held.enter_context(exposing(pod, (EXPOSED / "llama-cpp.txt").read_text()))
    own = 'extends = ["llama-cpp", "gpu"]\nreplica = "pod"\nselect = { pod = "=~{pod}" }\n'
    (bench.folder / "own.toml").write_text(own + '[counters.requests]\nmetric = "app_requests_total"\n')
    server.wait(pod)
    sample = source(bench, server.url, {CANARY: told(pod)}, profile="own.toml").poll([CANARY])[CANARY]

    assert shown(sample) == {
        "requests": 20,
        "input_tokens": 2268,
        "cached_input_tokens": 1568,
        "cache_hits": 1568,
        "cache_queries": 2268,
        "output_tokens": 171,
        "itl_sum": pytest.approx(0.354099),
        "itl_count": 171,
        "in_flight": 3,
        "queue": 1,
    }
    with pytest.raises(UsageError, match=r'llama-cpp has no requests; .*extends = "llama-cpp"'):
        load("llama-cpp", bench.folder)


def test_every_number_is_explained_by_the_name_that_there_are_series_of(server, bench, held):
    """An older server has other names; what is printed has to find something."""
    (pod,) = server.take(1, "quick")
    text = (EXPOSED / "vllm.txt").read_text().replace("vllm:inter_token_latency", "vllm:time_per_output_token")
    held.enter_context(exposing(pod, text.replace("vllm:prefix_cache", "vllm:gpu_prefix_cache")))
    server.wait(pod)
    made = source(bench, server.url, {BASELINE: told(pod)}, profile="vllm")
    asked = made.explain(BASELINE)

    assert asked["histograms.itl"].query.startswith(
        "sum by (job, instance, pod, le) (vllm:time_per_output_token_seconds_bucket{"
    )
    assert "vllm:gpu_prefix_cache_hits_total" in asked["counters.cache_hits"].query
    assert asked["histograms.itl"].series == 20
    assert asked["gauges.gpu_memory"].series == 0
    assert server.ask(asked["counters.errors"].query)
    assert made.poll([BASELINE])[BASELINE].counters["cache_hits"] == 512


# -- how roles are told apart ----------------------------------------------------------------------------------------


def test_without_a_cluster_a_target_says_which_series_are_whose(server, bench, held):
    """Two LiteLLMs on two machines are two jobs, or two ports; no router has to tell."""
    one, other = server.take(2, "quick")
    text = (EXPOSED / "litellm.txt").read_text()
    held.enter_context(exposing(one, text))
    held.enter_context(exposing(other, re.sub(r'(status_code="200".*) 24\.0', r"\1 124.0", text)))
    server.wait(one), server.wait(other)
    roles = {"baseline": {"job": "quick", "instance": one.target}, "canary": {"instance": f"=~{other.target}"}}
    polled = source(bench, server.url, profile="litellm", roles=roles).poll(BOTH)

    assert [polled[role].counters["requests"] for role in BOTH] == [34, 134]


def test_a_build_that_is_one_process_is_read_where_it_is_scraped(server, bench, held):
    """On one machine there are no pods; a router that knows addresses tells the same profile all it needs."""
    one, other = server.take(2, "quick")
    text = (EXPOSED / "litellm.txt").read_text()
    held.enter_context(exposing(one, text))
    held.enter_context(exposing(other, re.sub(r'(status_code="200".*) 24\.0', r"\1 124.0", text)))
    server.wait(one), server.wait(other)
    router = {BASELINE: {"instance": one.target}, CANARY: {"instance": other.target}}
    polled = source(bench, server.url, router, profile="litellm").poll(BOTH)
    found_out = source(bench, server.url, router).poll(BOTH)

    assert [polled[role].counters["requests"] for role in BOTH] == [34, 134]
    assert [found_out[role].counters["requests"] for role in BOTH] == [34, 134]
    assert not polled[CANARY].replicas


def test_a_label_of_the_metrics_themselves_tells_roles_apart_within_one_target(server, bench, held):
    """One proxy before both builds: its `up` knows of neither."""
    (pod,) = server.take(1, "quick")
    text = (EXPOSED / "litellm.txt").read_text()
    with_canary = text + "".join(x.replace("dep-a", "dep-b") for x in text.splitlines(True) if '_code="200"' in x)
    held.enter_context(exposing(pod, with_canary))
    server.wait(pod)
    roles = {role: {"instance": pod.target, "model_id": f"dep-{name}"} for role, name in zip(BOTH, "ab", strict=True)}
    made = source(bench, server.url, profile="litellm", roles=roles)
    polled = made.poll(BOTH)

    assert [polled[role].counters["requests"] for role in BOTH] == [25, 24]
    until(lambda: made.poll(BOTH) and made.interval_seconds)
    assert made.interval_seconds == pytest.approx(0.25, abs=0.1)


def test_a_build_that_nobody_has_asked_yet_has_counted_nothing_where_series_are_born_with_requests(server, bench, held):
    """Before the first weight it has none, and no weight is given before both can be read."""
    (pod,) = server.take(1, "quick")
    exposed = held.enter_context(exposing(pod, (EXPOSED / "litellm.txt").read_text()))
    server.wait(pod)
    roles = {role: {"instance": pod.target, "model_id": f"dep-{name}"} for role, name in zip(BOTH, "ab", strict=True)}
    made = source(bench, server.url, profile="litellm", roles=roles)
    before = made.poll(BOTH)
    exposed.text += exposed.text.replace("dep-a", "dep-b")
    server.wait(pod)
    after = made.poll(BOTH)

    assert [before[role].counters["requests"] for role in BOTH] == [25, 0]
    assert before[CANARY].at == before[BASELINE].at
    assert after[CANARY].since(before[CANARY]).counters["requests"] == 25
    assert not any(sample.replicas for sample in after.values())
    with pytest.raises(SourceUnavailable, match="no series for canary"):
        source(bench, server.url, profile="litellm", roles=roles | {CANARY: {"job": "none"}}).poll([CANARY])


@pytest.mark.usefixtures("pods")
def test_roles_may_be_told_by_what_the_router_says_of_each(server, bench):
    """`rollout_hash` is whatever the team writes into it, such as the Deployment's name."""
    labels = {CANARY: {"deployment": "5f6d8c9b7"}, BASELINE: {"deployment": "other"}}
    roles = {role: {"rollout_hash": "{deployment}"} for role in BOTH}
    made = source(bench, server.url, labels, profile="inference-service", roles=roles)

    assert made.poll([CANARY])[CANARY].counters["hallucinations"] == 6
    with pytest.raises(SourceUnavailable, match=r'no series for baseline: .*rollout_hash="other"'):
        made.poll([BASELINE])


@pytest.mark.parametrize("name", [name for name in BUILT_IN if not load(name, Path()).select])
def test_a_profile_that_cannot_know_the_labels_says_what_to_write(name, bench):
    """Before a series of everybody is taken for the canary's."""
    with pytest.raises(SourceUnavailable, match=r"write `metrics.prometheus.roles`, such as \{baseline: "):
        source(bench, NOWHERE, {BASELINE: SHOP}, profile=name).queries(BASELINE)


def test_a_router_that_tells_nothing_asks_for_roles(bench):
    """One of somebody's own may know no labels of Prometheus."""
    with pytest.raises(SourceUnavailable, match=r"write `metrics.prometheus.roles`, such as \{baseline: "):
        source(bench, NOWHERE, profile="vllm").poll(BOTH)


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        ({"canry": {"job": "a"}}, "'baseline', 'control' or 'canary'"),
        ({"canary": {"job": "a"}}, "baseline and canary, found one of them"),
        ({"baseline": {}, "canary": {"job": "a"}}, "`roles.baseline` with at least one label"),
        ({"baseline": {"j-b": "a"}, "canary": {"job": "a"}}, "should match pattern"),
    ],
)
def test_roles_that_make_no_sense_are_refused(roles, said):
    """Before anything is asked."""
    with pytest.raises(ValidationError, match=re.escape(said)):
        PrometheusMetrics.Options.model_validate({"url": NOWHERE, "roles": roles})


# -- the page ---------------------------------------------------------------------------------------------------------


def feeds(name: str) -> list[str]:
    """The gates that the profile has numbers for, one word for all quantiles of a histogram."""
    profile = load(name, Path())
    kinds = {"counters": profile.counters, "histograms": profile.histograms, "gauges": profile.gauges}
    numbers = {f"{kind}.{number}" for kind, table in kinds.items() for number in table}
    fed = [gate for gate in names() if any(numbers.issuperset(way) for way in ways(metric(gate)))]
    return list(dict.fromkeys(re.sub(r"_p\d+$", "", gate) for gate in fed))


def table() -> str:
    """The table of the page, in the order in which profiles are tried."""
    lines = ["| profile | reads | versions | tells roles apart by | gates |", "|---|---|---|---|---|"]
    for name in BUILT_IN:
        profile = load(name, Path())
        placed = {"{pod}": "pods", "{service}": "Services", "{deployment}": "Deployments"}
        by = [word for place, word in placed.items() if place in str(profile.select)]
        by += [f"`roles`: {', '.join(f'`{label}`' for label in profile.roles_by)}"] if profile.roles_by else []
        gates = ", ".join(f"`{gate}`" for gate in feeds(name))
        lines.append(f"| `{name}` | {profile.description} | {profile.versions} | {'; '.join(by)} | {gates} |")
    return "\n".join(lines)


def test_the_table_of_the_page_says_what_the_files_say():
    """Paste what it says here where it does not."""
    page = (Path(__file__).parents[2] / "docs" / "profiles.md").read_text()

    assert table() in page, table()


@pytest.mark.parametrize("name", [name for name in BUILT_IN if load(name, Path()).model is not None])
def test_the_labels_that_name_a_model_are_those_that_servers_have(name):
    """On the metric that the profile says, in what the server really exposes."""
    profile, text = load(name, Path()), (EXPOSED / f"{name}.txt").read_text()
    assert profile.model is not None
    metrics = {profile.model.metric} if profile.model.metric else profile.counters["requests"].names
    lines = [line for line in text.splitlines() if line.partition("{")[0] in metrics]

    assert lines
    for label in filter(None, (profile.model.name, profile.model.version)):
        assert all(f'{label}="' in line for line in lines), label
