"""What looks like a number and is none: each is one line or no data, and never a pass."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from pytest_canary.adapters.clock import SystemClock
from pytest_canary.adapters.prometheus import PrometheusMetrics
from pytest_canary.errors import SourceUnavailable, UsageError
from pytest_canary.gates import Gate, Limits, metric
from pytest_canary.ports import Role
from pytest_canary.verdict import Judge
from tests.adapters.contracts import BOTH, Bench
from tests.prometheus.servers import exposing, prometheus, told

BASELINE, CANARY = Role.BASELINE, Role.CANARY
SIMPLE = """
select = { namespace = "{namespace}", pod = "=~{pod}" }
replica = "pod"
[counters.requests]
metric = "r_total"
[counters.errors]
metric = "e_total"
[histograms.latency]
metric = "d"
"""
BUCKETS = 'd_bucket{le="0.1"} 5\nd_bucket{le="1"} 9\nd_bucket{le="+Inf"} 10\nd_sum 3\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One Prometheus for all of them."""
    with prometheus(tmp_path_factory.mktemp("prometheus"), {"quick": 45}) as running:
        yield running


@pytest.fixture
def bench(tmp_path):
    """A target with a profile of its own."""
    (tmp_path / "own.toml").write_text(SIMPLE)
    return Bench(tmp_path, SystemClock())


@pytest.fixture
def shown(server):
    """Pods that expose a text each; they are scraped when they are given back."""
    with ExitStack() as held:

        def show(*texts):
            pods = server.take(len(texts), "quick")
            exposed = [held.enter_context(exposing(pod, text)) for pod, text in zip(pods, texts, strict=True)]
            for pod in pods:
                server.wait(pod)
            return exposed

        yield show


def source(bench, server, *roles, profile=None, **options):
    """The metric source, of a profile that is given as text; each role has the pods named for it."""
    if profile:
        (bench.folder / "own.toml").write_text(profile)
    shared = bench.shared()
    router = {role: told(*(one.pod for one in pods)) for role, pods in zip(BOTH, roles, strict=False)}
    shared.labels.update(router)
    given = {"url": server.url, "profile": "own.toml", **options}
    return PrometheusMetrics.connect(PrometheusMetrics.Options.model_validate(given), shared)


def refused(made, roles=BOTH):
    """The line that a poll raises."""
    with pytest.raises(SourceUnavailable) as caught:
        made.poll(roles)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- metrics that are not there ----------------------------------------------------------------------------------------


def test_a_counter_that_nobody_has_is_not_zero(server, bench, shown):
    """A misspelt name would be a build without errors, for ever."""
    made = source(bench, server, shown("r_total 10\n" + BUCKETS), profile=SIMPLE.replace("e_total", "eror_total"))
    sample = made.poll([BASELINE])[BASELINE]
    gate = Gate("error_rate", metric("error_rate"), Limits(ratio=1.5))

    assert "errors" not in sample.counters
    assert [fact.data["unseen"] for fact in bench.facts if "unseen" in fact.data] == [["errors"]]
    with pytest.raises(Exception, match="the source does not count `errors`"):
        Judge([gate], 1).foresee(sample)


@pytest.mark.parametrize(
    ("exposed", "profile"),
    [
        ("# TYPE told_total counter\n", SIMPLE.replace("e_total", "told_total")),
        ("", SIMPLE.replace('"e_total"', '"e_total"\nfrom_zero = true')),
        ("", SIMPLE.replace('"e_total"', '"r_total"\nmatch = {code = "=~5.."}')),
    ],
    ids=["announced", "the profile says so", "a child of the requests"],
)
def test_a_counter_before_its_first_event_is_zero_where_something_says_that_it_will_come(
    exposed, profile, server, bench, shown
):
    """A healthy build has made no errors yet."""
    made = source(bench, server, shown("r_total 10\n" + exposed), profile=profile)

    assert made.poll([BASELINE])[BASELINE].counters["errors"] == 0


def test_a_counter_that_one_role_has_is_zero_for_the_other(server, bench, shown):
    """The canary's first error must be compared with a baseline that has made none."""
    good, bad = shown("r_total 10\n", "r_total 10\n")
    made = source(bench, server, [good], [bad], profile=SIMPLE.replace("e_total", "rare_total"))
    assert "errors" not in made.poll(BOTH)[CANARY].counters
    bad.text = "r_total 20\nrare_total 5\n"
    server.wait(bad.pod)
    polled = made.poll(BOTH)

    assert [polled[role].counters["errors"] for role in BOTH] == [0, 5]


@pytest.mark.parametrize(
    "text", ["", "d_sum 3\nd_count 10\n", 'd{quantile="0.99"} 0.3\nd_sum 3\nd_count 10\n', 'd_bucket{le="+Inf"} 10\n']
)
def test_a_histogram_without_buckets_has_counted_nothing(text, server, bench, shown):
    """A summary, a mean or one bucket for everything tells no quantile."""
    sample = source(bench, server, shown("r_total 10\n" + text)).poll([BASELINE])[BASELINE]

    assert not sample.histograms.get("latency", None) or not sample.histograms["latency"].number


NOTHING = 'query = "sum by ($by) (no_such_total{$match})"'


@pytest.mark.parametrize("query", [NOTHING, 'query = "sum by ($by) (r_total{$match}) > 1e9"'])
def test_a_query_with_an_empty_answer_is_not_zero(query, server, bench, shown):
    """PromQL that finds nothing answers an empty vector, as a build without errors would."""
    made = source(bench, server, shown("r_total 10\n"), profile=SIMPLE.replace('metric = "e_total"', query))

    assert "errors" not in made.poll([BASELINE])[BASELINE].counters


def test_an_empty_answer_for_the_requests_is_a_build_that_nobody_asks(server, bench, shown):
    """Its pods are scraped and say nothing of requests: a baseline without any, on which no rollout begins."""
    made = source(bench, server, shown("e_total 10\n"), profile=SIMPLE.replace('metric = "r_total"', NOTHING))
    sample = made.poll([BASELINE])[BASELINE]

    assert sample.counters["requests"] == 0
    assert not sample.histograms.get("latency", None) or not sample.histograms["latency"].number


# -- numbers that are none --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "said"), [("NaN", "nan"), ("+Inf", "inf"), ("-3", "-3")])
def test_a_count_that_is_no_count_is_no_data(value, said, server, bench, shown):
    """Left out, NaN would be a build without errors."""
    (bad,) = shown(f"r_total 10\ne_total {value}\n")
    line = refused(source(bench, server, [bad]), [BASELINE])

    assert line.startswith(f"baseline: counters.errors of {bad.pod.name} is {said}, which is no count")


def test_a_histogram_in_which_somebody_observed_a_nan_is_left_out_and_written_down(server, bench, shown):
    """Its sum is NaN for ever; what else the pod counts is still true."""
    (pod,) = shown("r_total 10\n" + BUCKETS.replace("d_sum 3", "d_sum NaN"))
    sample = source(bench, server, [pod]).poll([BASELINE])[BASELINE]

    assert sample.counters["requests"] == 10
    assert "latency" not in sample.histograms
    assert [fact.data["unsummed"] for fact in bench.facts if "unsummed" in fact.data] == [["latency"]]


def test_a_gauge_that_is_nan_is_not_there(server, bench, shown):
    """A GPU that is asleep has no utilisation."""
    profile = SIMPLE + '[gauges.queue]\nmetric = "q"\n'
    sample = source(bench, server, shown("r_total 10\nq NaN\n"), profile=profile).poll([BASELINE])[BASELINE]

    assert not sample.gauges


# -- gauges that stand as counters ------------------------------------------------------------------------------------


def test_a_gauge_that_its_pods_announce_as_one_is_named(server, bench, shown):
    """Each time it went down, everything would be counted again."""
    exposed = "r_total 10\n# TYPE busy_workers gauge\nbusy_workers 3\n"
    made = source(bench, server, shown(exposed), profile=SIMPLE.replace("e_total", "busy_workers"))

    assert refused(made, [BASELINE]) == (
        "counters.errors of profile own is read from busy_workers, which is a gauge and may go down; name a counter, "
        "or where it only grows write a `query` of it"
    )


def test_a_gauge_of_unknown_type_is_named_once_it_has_gone_down_twice_while_requests_went_on(server, bench, shown):
    """Once may be a pod that began anew and was quick."""
    (pod,) = shown("")
    made = source(bench, server, [pod])
    for requests, value in ((110, 2), (120, 6), (130, 1)):
        pod.text = f"r_total {requests}\ne_total {value}\n"
        server.wait(pod.pod)
        made.poll([BASELINE])
    pod.text = "r_total 140\ne_total 0\n"
    server.wait(pod.pod)

    for _ in range(2):
        line = refused(made, [BASELINE])
        assert line.startswith(f"baseline: counters.errors of {pod.pod.name} goes down while its requests go on")


def test_a_pod_that_begins_anew_is_no_gauge(server, bench, shown):
    """All its counters go back together."""
    (pod,) = shown("r_total 100\ne_total 5\n")
    made = source(bench, server, [pod])
    for requests, errors in ((100, 5), (3, 0), (50, 4), (2, 1), (40, 2)):
        pod.text = f"r_total {requests}\ne_total {errors}\n"
        server.wait(pod.pod)
        sample = made.poll([BASELINE])[BASELINE]

    assert sample.counters["requests"] == 100 + 50 + 40
    assert sample.counters["errors"] == 5 + 4 + 2


# -- labels that do not separate --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("baseline", "canary"),
    [
        ({"job": "quick"}, {"job": "=~qui.*"}),
        ({"namespace": "test"}, {"pod": "=~{pod}"}),
        ({"job": "quick"}, {"x": ""}),
    ],
)
def test_labels_that_differ_and_mean_the_same_series_are_refused(baseline, canary, server, bench, shown):
    """Some requests would be on both sides, so both would look alike."""
    one, other = shown("r_total 10\n", "r_total 20\n")
    roles = {"baseline": baseline, "canary": canary}
    labels = {"instance": f"=~{one.pod.target}|{other.pod.target}"}
    line = refused(source(bench, server, [one], [other], roles=roles, labels=labels))

    assert line.startswith("baseline and canary are both read from ")
    assert "do not tell them apart; check the profile's `select` or `metrics.prometheus.roles`" in line


def test_a_label_of_the_pods_that_only_one_side_has_is_no_data_for_the_other(server, bench, shown):
    """A pod that is not scraped has not served nobody."""
    one, _ = shown("r_total 10\n", "r_total 20\n")
    roles = {"baseline": {"instance": one.pod.target}, "canary": {"instance": "10.0.0.1:80"}}

    assert refused(source(bench, server, [one], [one], roles=roles)).startswith("no series for canary: ")


def test_a_label_of_the_metrics_that_only_one_side_has_is_no_request_of_the_other(server, bench, shown):
    """`rollout_hash` was forgotten on the canary: it looks like one that nobody has asked, and never gets further."""
    one, other = shown('r_total{rollout_hash="a"} 10\n', "r_total 20\n")
    roles = {role: {"rollout_hash": value} for role, value in zip(BOTH, "ab", strict=True)}
    polled = source(bench, server, [one], [other], roles=roles).poll(BOTH)

    assert [polled[role].counters["requests"] for role in BOTH] == [10, 0]


# -- units ------------------------------------------------------------------------------------------------------------


MILLISECONDS = 'd_bucket{le="100"} 5\nd_bucket{le="1000"} 9\nd_bucket{le="+Inf"} 10\nd_sum 3000\n'


def test_milliseconds_beside_seconds_are_seen_by_their_buckets(server, bench, shown):
    """Among the replicas of a build, and between two builds: one would be a thousand times slower."""
    one, other = shown("r_total 10\n" + BUCKETS, "r_total 10\n" + MILLISECONDS)

    among = refused(source(bench, server, [one, other]), [BASELINE])
    assert "different buckets (2 up to 1 and 2 up to 1000, as in s and in ms), which cannot be added" in among
    assert refused(source(bench, server, [one], [other])).startswith(
        "baseline counts latency in one unit and canary in another, as their buckets show (1000 to 1)"
    )


@pytest.mark.parametrize(
    ("name", "unit", "right"),
    [
        ("d_milliseconds", "", "ms"),
        ("d_milliseconds", 'unit = "s"', "ms"),
        ("d_ms", "", "ms"),
        ("d_seconds", 'unit = "ms"', "s"),
        ("d_us", "", "us"),
    ],
)
def test_a_name_that_says_another_unit_is_a_mistake_of_the_profile(name, unit, right, server, bench):
    """Found when the file is read."""
    with pytest.raises(
        UsageError, match=f'own.toml: histograms.latency: expected `unit = "{right}"`, as the name {name}'
    ):
        source(bench, server, profile=SIMPLE.replace('metric = "d"', f'metric = "{name}"\n{unit}'))


# -- what is not Prometheus ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<html>log in</html>", "answers, but not like Prometheus; is this a login page?"),
        ("", "answers, but not like Prometheus; is this a login page?"),
        (
            '{"status": "error", "errorType": "execution", "error": "out of memory"}',
            "answers 200: out of memory; check",
        ),
        ('{"status": "success"}', "answers, but not like Prometheus"),
        ('{"status": "success", "data": {"result": "none"}}', "answers, but not like Prometheus"),
        ('{"status": "success", "data": null}', "answers, but not like Prometheus"),
    ],
)
def test_what_answers_200_and_is_no_answer_is_no_data(body, said, server, bench):
    """A gateway in front may say 200 to everything."""
    (pod,) = server.take(1, "quick")
    with exposing(pod, body) as front:
        made = source(bench, server, [front], url=f"http://{pod.target}")

        assert refused(made, [BASELINE]).startswith(f"prometheus at http://{pod.target} {said}")
        assert len(made.check()) == 1
