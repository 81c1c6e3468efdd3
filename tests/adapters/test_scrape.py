"""Replicas' own pages as a metric source: read over real HTTP, from servers that say what a test wants."""

from __future__ import annotations

import base64
import gzip
import re
import subprocess
import threading
import time
from contextlib import ExitStack

import pytest
from pydantic import ValidationError

from pytest_canary.adapters.clock import VirtualClock
from pytest_canary.adapters.scrape import ScrapeMetrics
from pytest_canary.errors import AdapterError, SourceUnavailable, UsageError
from pytest_canary.gates import Gate, Limits, metric
from pytest_canary.ports import Replicas
from pytest_canary.verdict import Judge
from tests.adapters.contracts import BOTH, NOWHERE, Bench
from tests.adapters.pages import OPENMETRICS, TEXT, page
from tests.local.servers import request, serving
from tests.prometheus.servers import exposing, prometheus

BASELINE, CANARY = BOTH
SIMPLE = """
replica = "pod"
select = { pod = "=~{pod}" }
[counters.requests]
metric = "r_total"
[counters.errors]
metric = "e_total"
from_zero = true
[histograms.latency]
metric = "d"
[gauges.in_flight]
metric = "now"
"""
BUCKETS = 'd_bucket{le="0.1"} 5\nd_bucket{le="1"} 9\nd_bucket{le="+Inf"} 10\nd_sum 3\n'


@pytest.fixture
def bench(tmp_path):
    """A target with a profile of its own, whose time passes when a test says so."""
    (tmp_path / "own.toml").write_text(SIMPLE)
    return Bench(tmp_path, VirtualClock())


@pytest.fixture
def held():
    """What is ended after the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def pages(held):
    """Serves pages with these texts, until the test is over."""
    return lambda *texts, kind=TEXT: [held.enter_context(page(text, kind)) for text in texts]


@pytest.fixture
def source(bench, held):
    """The metric source; each role has the pages given for it."""

    def source(*roles, text=None, shared=None, **options):
        if text:
            (bench.folder / "own.toml").write_text(text)
        placed = {role: [one.url for one in each] for role, each in zip(BOTH, roles, strict=False)}
        if len(placed) == 1:
            placed[CANARY] = [NOWHERE]
        given = {"profile": "own.toml", "roles": placed, "timeout": 5, **options}
        made = ScrapeMetrics.connect(ScrapeMetrics.Options.model_validate(given), shared or bench.shared())
        held.callback(made.stop)
        return made

    return source


def refused(made, roles=(BASELINE,)):
    """The line that a poll raises."""
    with pytest.raises(SourceUnavailable) as caught:
        made.poll(roles)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def requests(made, role=BASELINE):
    """What a role has counted."""
    return made.poll([role])[role].counters["requests"]


# -- pages ------------------------------------------------------------------------------------------------------------


def test_both_formats_are_asked_for_and_read(source, pages):
    """A server may know only one of them."""
    (text,) = pages("# TYPE r_total counter\nr_total 7\n" + BUCKETS)
    told = '# TYPE r counter\nr_total 8 # {trace_id="a"} 1\n# TYPE d histogram\n' + BUCKETS + "d_count 10\n# EOF\n"
    (strict,) = pages(told, kind=OPENMETRICS)
    polled = source([text], [strict]).poll(BOTH)

    assert [polled[role].counters["requests"] for role in BOTH] == [7, 8]
    assert [polled[role].histograms["latency"].counts for role in BOTH] == [(5, 4, 1), (5, 4, 1)]
    assert "openmetrics-text;version=1.0.0" in text.asked[0]["accept"]
    assert text.asked[0]["accept"].startswith("text/plain;version=0.0.4,")


def test_a_packed_page_is_read(source, pages):
    """Prometheus asks for gzip too, and servers send it."""
    (packed,) = pages("r_total 7\n")
    packed.packed = True

    assert requests(source([packed])) == 7
    assert packed.asked[0]["accept-encoding"] == "gzip"


@pytest.mark.parametrize("name", ["x", "x_total"])
def test_a_counter_is_found_by_the_name_of_either_format(name, source, pages):
    """A Go server's `x` is `x_total` as soon as somebody asks for OpenMetrics, which Prometheus does."""
    (bare,) = pages("# TYPE x counter\nx 7\n")
    profile = SIMPLE.replace('"r_total"', f'["{name}", "x_total"]')

    assert requests(source([bare], text=profile)) == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<!DOCTYPE html><html>log in</html>", "answers a web page and no metrics"),
        ("", "answers an empty page"),
        (b"r_total 1\n\xff\xfe 2\n", "is no UTF-8 (byte 10)"),
        ('{"status": "ok"}', "answers what is no page of metrics"),
        ("everything is fine here\n", "answers what is no page of metrics"),
        ("r_total NaN\n", "counters.requests of HERE is nan, which is no count"),
        ("r_total +Inf\n", "counters.requests of HERE is nan, which is no count"),
        ('r_total{a="1"} -5\nr_total{a="2"} 9\n', "counters.requests of HERE is -5, which is no count"),
        ('r_total{a="1"} 5\nr_total{a="2"} 5\nr_total{a="1"} 5\n', 'has a series twice: r_total{a="1"}'),
        ("r_total 1\nd_bucket 4\nd_sum 1\n", "has a bucket whose edge is no number"),
        ('r_total{a="1} 5\n', "answers what is no page of metrics"),
        ("# TYPE r_total gauge\nr_total 5\n", "read from r_total, which is a gauge and may go down"),
    ],
)
def test_what_is_no_page_of_counts_is_one_line_and_no_data(text, said, source, pages):
    """Never a build without errors."""
    (wrong,) = pages(text)

    assert said.replace("HERE", wrong.name) in refused(source([wrong]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# TYPE r counter\nr_total 5\n", "without its end (# EOF)"),
        ("# TYPE r counter\nr_total NaN\n# EOF\n", "Counter-like samples cannot be NaN"),
        ("# TYPE r counter\nr_total -1\n# EOF\n", "Counter-like samples cannot be negative"),
        ('# TYPE r counter\nr_total{a="1"} 5\nr_total{a="1"} 6\n# EOF\n', "has a series twice"),
    ],
)
def test_openmetrics_that_breaks_its_own_rules_is_refused(text, said, source, pages):
    """A page that was cut at its end looks whole otherwise."""
    assert said in refused(source(pages(text, kind=OPENMETRICS)))


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "lets us not in (401); check `metrics.scrape.bearer`"),
        (404, "is not there (404); check `metrics.scrape.path`"),
        (500, "answers 500 and no metrics"),
        (204, "answers 204 and no metrics"),
    ],
)
def test_another_status_is_named_with_what_to_check(status, said, source, pages):
    """LiteLLM answers 401 to everybody unless it is told otherwise."""
    (wrong,) = pages("r_total 1\n")
    wrong.status = status

    assert f"baseline: {wrong.url}/metrics {said}" in refused(source([wrong]))


def test_a_page_that_turns_into_something_else_is_noticed(source, pages):
    """Only the lines that are wanted are parsed once a page is known, and then there are none."""
    (shown,) = pages("r_total 1\nother 2\n")
    made = source([shown])
    first = requests(made)
    shown.text = "the server is being restarted\n"

    assert first == 1
    assert "answers what is no page of metrics" in refused(made)


def test_a_page_without_end_is_given_up_at_its_limit(source):
    """Whoever counts by user has 200 MB of it one day."""
    line = b'r_total{user="u"} 1\n' * 4096

    def forever(connection):
        request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n")
        while True:
            connection.sendall(line)

    with serving(forever) as url:
        made = source(roles={"baseline": [url], "canary": [NOWHERE]}, body_limit=1 << 20, timeout=30)
        assert "is longer than 1 MiB, or has no end; " in refused(made)


def test_a_page_that_is_small_only_while_it_is_packed_is_given_up_too(source, pages):
    """Fifty megabytes of spaces are fifty kilobytes on the wire."""
    (bomb,) = pages(gzip.compress(b" " * (50 << 20)))
    bomb.headers["Content-Encoding"] = "gzip"

    assert "is longer than 32 MiB, or has no end" in refused(source([bomb], timeout=30))


def test_a_page_that_trickles_is_given_up_in_time(source):
    """Each byte comes soon enough, and the page never."""
    over = threading.Event()

    def trickle(connection):
        request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n")
        while not over.wait(0.05):
            connection.sendall(b"#")

    with serving(trickle) as url:
        said = refused(source(roles={"baseline": [url], "canary": [NOWHERE]}, timeout=0.5))
        over.set()

    assert re.search(r"has not come to its end in 0\.5 s|nothing in 0\.5 s", said)


def test_a_page_that_breaks_off_is_no_page(source, pages):
    """Half of the errors are not few errors."""
    (short,) = pages("r_total 1\n")
    short.headers["Content-Length"] = "1000"

    assert "does not answer: " in refused(source([short], timeout=1))


def test_nobody_there_is_one_line(source):
    """And says where."""
    said = refused(source(roles={"baseline": [NOWHERE], "canary": ["http://127.0.0.1:10"]}))

    assert said == "baseline: http://127.0.0.1:9/metrics does not answer: connection refused"


# -- the way in -------------------------------------------------------------------------------------------------------


def test_a_token_a_password_and_headers_are_sent_and_never_said(source, pages, bench):
    """A file is read for every look, since such tokens are replaced."""
    (shown,) = pages("r_total 1\n")
    (bench.folder / "token").write_text("first\n")
    made = source([shown], bearer_file="token", headers={"X-Team": "t0psecret"})
    requests(made)
    (bench.folder / "token").write_text("second\n")
    requests(made)
    requests(source([shown], basic={"user": "me", "password": "pa55"}))
    requests(source([shown], bearer="given"))
    shown.status = 401
    said = refused(source([shown], bearer="given", headers={"X-Team": "t0psecret"}))

    basic = f"Basic {base64.b64encode(b'me:pa55').decode()}"
    sent = [one["authorization"] for one in shown.asked]
    assert sent == ["Bearer first", "Bearer second", basic, "Bearer given", "Bearer given"]
    assert shown.asked[0]["x-team"] == "t0psecret"
    assert not any(secret in said for secret in ("given", "t0psecret"))


def test_a_certificate_is_believed_where_its_authority_is_named_or_all_are(source, held, bench):
    """Inside a cluster nobody has a certificate that the machine's own authorities know."""
    pem = bench.folder / "page.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "-", "-days", "1"]
    made += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    pem.write_bytes(subprocess.run(made, check=True, capture_output=True).stdout)
    shown = held.enter_context(page("r_total 1\n", certificate=pem))

    assert "certificate verify failed" in refused(source([shown]))
    assert requests(source([shown], tls={"ca": "page.pem"})) == 1
    assert requests(source([shown], tls={"insecure": True})) == 1
    assert requests(source([shown], tls={"ca": "page.pem", "cert": "page.pem"})) == 1
    (bench.folder / "page.pem").write_text("no certificate")
    assert "was not asked: " in refused(source([shown], tls={"ca": "page.pem"}))


def test_a_file_that_is_not_there_is_missing_before_anything_runs(source):
    """`check` is asked first."""
    made = source([], roles={}, bearer_file="token")

    assert [line.partition(" /")[0] for line in made.check()] == ["metrics.scrape: there is no file"]


def test_a_redirect_is_followed_on_the_same_server_only(source, pages):
    """FastAPI sends /metrics to /metrics/; a login page is somewhere else, and is not given our token."""
    (shown, login) = pages("r_total 1\n", "r_total 2\n")
    slash = held_redirect(shown, "/metrics/")
    first = requests(source([slash]))
    slash.headers["Location"] = f"{login.url}/metrics"

    assert first == 1
    assert "sends us elsewhere, to log in as it seems" in refused(source([slash], bearer="given"))
    assert login.asked == []


def held_redirect(shown, where):
    """`shown` answers 307 at /metrics, and its page at `where`."""
    plain, shown.paths = shown.body, ("/metrics", where)
    shown.headers["Location"] = where

    def body():
        redirected = len(shown.asked) % 2 == 1
        shown.status = 307 if redirected else 200
        return b"" if redirected else plain()

    shown.body = body
    return shown


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"roles": {"canary": ["http://a:1"]}}, "baseline and canary, found one of them"),
        ({"roles": {"baseline": ["a:1"], "canary": ["http://b:1"]}}, "an address such as http://127.0.0.1:8080"),
        ({"roles": {"baseline": ["http://a"], "canary": ["http://me:pw@b"]}}, "without a password; write `basic`"),
        ({"roles": {"baseline": [], "canary": ["http://b:1"]}}, "at least one address or label"),
        ({"roles": {"baseline": ["http://b", "http://b"], "canary": ["http://a"]}}, "each address once"),
        ({"roles": {"canry": ["http://b"]}}, "'baseline', 'control' or 'canary'"),
        ({"path": "metrics"}, "should match pattern"),
        ({"port": 70000}, "less than 65536"),
        ({"timeout": 0}, "greater than 0"),
        ({"bearer": "a", "bearer_file": "b"}, "one way to log in, found bearer and bearer_file"),
    ],
)
def test_options_that_make_no_sense_are_refused(given, said):
    """Before anything is asked."""
    with pytest.raises(ValidationError, match=re.escape(said)):
        ScrapeMetrics.Options.model_validate(given)


# -- replicas ---------------------------------------------------------------------------------------------------------


def test_all_replicas_of_a_role_are_added_up_and_told_apart(source, pages):
    """Evidence by replica needs them one by one."""
    polled = source(pages("r_total 7\nnow 1\n", "r_total 8\ne_total 1\nnow 2\n"), pages("r_total 1\n")).poll(BOTH)
    baseline = polled[BASELINE]

    assert (baseline.counters["requests"], baseline.counters["errors"], baseline.gauges["in_flight"]) == (15, 1, 3)
    assert sorted(one.counters["requests"] for one in baseline.replicas.values()) == [7, 8]
    assert [one.counters["requests"] for one in polled[CANARY].replicas.values()] == [1]


def test_a_replica_that_began_anew_takes_nothing_back(source, pages):
    """What it had counted before stays counted."""
    one, other = pages("r_total 100\n" + BUCKETS, "r_total 10\n" + BUCKETS)
    made = source([one, other])
    before = made.poll([BASELINE])[BASELINE]
    one.text = "r_total 3\ne_total 1\n" + BUCKETS.replace("5", "1").replace("9", "1").replace("10", "1")
    after = made.poll([BASELINE])[BASELINE]
    since = after.since(before)

    assert since.counters == {"requests": 3, "errors": 1}
    assert since.histograms["latency"].number == 1
    assert since.replicas[one.name].counters["requests"] == 3


def test_replicas_come_and_go(source, pages, bench):
    """Where the router tells them, they are asked anew at every look."""
    shared = bench.shared()
    one, other, third = pages("r_total 5\n", "r_total 6\n", "r_total 7\n")
    there = {"pod-1": one.url, "pod-2": other.url}
    shared.replicas[BASELINE] = Replicas(("pin", ""), lambda _: dict(there))
    made = source(shared=shared, roles={})
    first = requests(made)
    del there["pod-2"]
    second = requests(made)
    there["pod-3"] = third.url
    last = made.poll([BASELINE])[BASELINE]

    assert (first, second, last.counters["requests"]) == (11, 11, 18)
    assert set(last.replicas) >= {"pod-1", "pod-3"}
    there.clear()
    assert refused(made) == "baseline: there is no replica that takes requests, so nothing is counted"


def test_a_silent_replica_holds_the_time_of_its_role_back(source, pages, bench):
    """The others still count, so bad news is not lost; what the silent one does is not known, so nothing is good."""
    well, hung = pages("r_total 5\n", "r_total 6\ne_total 6\n")
    made = source([well, hung], timeout=0.3)
    made.poll([BASELINE])
    heard = bench.clock.now()
    hung.hangs.set()
    well.text = "r_total 50\ne_total 1\n"
    bench.clock.sleep(100)
    waiting = made.poll([BASELINE])[BASELINE]
    made.poll([BASELINE])
    hung.hangs.clear()
    after = made.poll([BASELINE])[BASELINE]

    assert (waiting.counters["requests"], waiting.counters["errors"], waiting.at) == (56, 7, heard)
    assert (after.counters["errors"], after.at) == (7, bench.clock.now())
    (note,) = [fact.data for fact in bench.facts if "silent" in fact.data]
    assert note["silent"] == hung.name
    assert note["say"] == (
        f"baseline: {hung.name} does not answer: nothing in 0.3 s; check it, or raise `metrics.scrape.timeout`; the "
        "others count, and nothing goes on before it answers"
    )


def test_a_replica_that_never_answers_is_waited_for_too(source, pages, bench):
    """It takes requests, says the platform; nobody knows how they end."""
    (well,) = pages("r_total 5\n")
    made = source(roles={"baseline": [well.url, NOWHERE], "canary": ["http://127.0.0.1:10"]})
    first = made.poll([BASELINE])[BASELINE].at
    bench.clock.sleep(10)

    assert made.poll([BASELINE])[BASELINE].at == first == bench.clock.now() - 10


def test_a_hung_replica_keeps_nobody_else_waiting(source, pages):
    """It is not asked again before it has let go of the last question."""
    well, hung = pages("r_total 5\n", "r_total 6\n")
    hung.hangs.set()
    made = source([well, hung], timeout=0.2)
    for _ in range(8):
        assert requests(made) == 5

    assert len(hung.asked) <= 8
    assert len([t for t in threading.enumerate() if t.name.startswith("canary-scrape")]) <= 8


def test_what_a_page_itself_says_is_old_is_not_taken_for_new(source, pages, bench):
    """Exporters that pass on what they were told long ago put a time on it."""
    at = bench.clock.wall()
    (shown,) = pages(f"r_total 5 {int((at - 10) * 1000)}\n")
    made = source([shown])

    assert made.poll([BASELINE])[BASELINE].at == pytest.approx(bench.clock.now() - 10, abs=0.01)
    bench.clock.sleep(10)
    assert made.poll([BASELINE])[BASELINE].at == pytest.approx(bench.clock.now() - 20, abs=0.01)


def test_what_the_canary_counted_stays_counted_when_it_is_the_baseline(source, pages, bench):
    """The very processes that were proven serve on."""
    shared = bench.shared()
    old, new = pages("r_total 500\n", "r_total 7\n")
    shared.replicas |= {
        role: Replicas((one.name, ""), lambda _, one=one: {one.name: one.url})
        for role, one in ((BASELINE, old), (CANARY, new))
    }
    made = source(shared=shared, roles={})
    made.poll(BOTH)
    shared.replicas[BASELINE] = shared.replicas.pop(CANARY)
    new.text = "r_total 3\n"

    assert requests(made) == 10
    assert made.poll([CANARY]) == {}


def test_the_platform_knows_a_metrics_port_of_its_own(source, pages, bench):
    """Users reach 8080, metrics are on 9090."""
    shared = bench.shared()
    (shown,) = pages("r_total 5\n")
    asked = []
    shared.replicas[BASELINE] = Replicas(("pin", ""), lambda port: asked.append(port) or {"a": "http://127.0.0.1:9"})
    made = source(shared=shared, roles={}, port=int(shown.url.rpartition(":")[2]))

    assert requests(made) == 5
    assert asked == [int(shown.url.rpartition(":")[2])]


def test_an_address_with_a_path_is_meant_as_it_stands(source, pages):
    """Envoy has it at /stats/prometheus, MLServer on another port."""
    (shown,) = pages("r_total 5\n")
    shown.paths = ("/stats/prometheus",)
    made = source(roles={"baseline": [f"{shown.url}/stats/prometheus"], "canary": [NOWHERE]})
    by_path = source([shown], path="/stats/prometheus")

    assert requests(made) == requests(by_path) == 5


# -- roles ------------------------------------------------------------------------------------------------------------


def test_two_roles_on_one_page_are_told_by_their_labels(source, pages):
    """One proxy before both builds; nobody is a replica then."""
    (shown,) = pages('r_total{to="a",code="200"} 5\nr_total{to="b",code="200"} 6\ne_total{to="b"} 1\n')
    roles = {role: {"urls": [shown.url], "match": {"to": to}} for role, to in zip(BOTH, "ab", strict=True)}
    polled = source(roles=roles).poll(BOTH)

    assert [(s.counters["requests"], s.counters["errors"]) for s in polled.values()] == [(5, 0), (6, 1)]
    assert not any(sample.replicas for sample in polled.values())
    assert len(shown.asked) == 1


@pytest.mark.parametrize(
    ("other", "said"),
    [({"code": "200"}, "nothing tells their series apart"), ({"to": "=~.*"}, "both read from 1 of the same series")],
)
def test_two_roles_that_are_read_from_the_same_series_are_refused(other, said, source, pages):
    """They would be alike for ever."""
    (shown,) = pages('r_total{to="a",code="200"} 5\n')
    roles = {BASELINE: {"urls": [shown.url], "match": {"code": "200"}}, CANARY: {"urls": [shown.url], "match": other}}

    assert said in refused(source(roles=roles), BOTH)


def test_a_router_that_tells_nothing_asks_for_roles(source, bench):
    """The memory router's users are nowhere."""
    shared = bench.shared()
    silent = refused(source(shared=shared, roles={}), BOTH)
    shared.labels[BASELINE] = {"namespace": "shop"}
    labels = refused(source(shared=shared, roles={}), BOTH)
    shared.replicas[BASELINE] = Replicas(("pin", ""), lambda _: {"a": "memory://gateway"})
    nowhere = refused(source(shared=shared, roles={}), BOTH)

    assert "write `metrics.scrape.roles`, such as {baseline: [http://" in silent
    assert "does not say where the replicas of baseline are; write" in labels
    assert nowhere.startswith("memory://gateway is no address that can be scraped; write `metrics.scrape.roles`")


def test_a_router_that_cannot_say_where_they_are_now_is_no_data(source, bench):
    """An API server that does not answer for a moment ends nothing."""
    shared = bench.shared()

    def where(_):
        raise AdapterError("the API server does not answer")

    shared.replicas[BASELINE] = Replicas(("pin", ""), where)

    assert "nobody says where its replicas are: the API server" in refused(source(shared=shared, roles={}))


# -- profiles ---------------------------------------------------------------------------------------------------------


def test_without_a_profile_that_fits_one_line_says_what_to_write(source, pages):
    """And which were tried."""
    said = refused(source(pages("mine_total 1\n"), profile=None))

    assert "has no series of baseline that a built-in profile knows (demo-gateway, " in said
    assert said.endswith("write your own and name it in `metrics.scrape.profile`")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sum by ($by) (rate(a{$match}[5m]))", "found 'rate', expected sum, avg, min, max, count by ($by), "),
        ("sum by ($by) (a{$match}) > 3", "found '>', expected sum, avg, "),
        ("sum by (pod) (a{$match}) + sum by ($by) (a{$match})", "found 'pod', expected $by"),
        ("sum by ($by) (a{$match}", "found 'its end', expected )"),
        ("label_replace(sum by ($by) (a{$match}))", "found 'label_replace', expected "),
        ("sum by ($by) (a{$match,x=1})", "found 'x=1', expected "),
        ("1 or sum by ($by) (a{$match})", "`or` between numbers"),
    ],
)
def test_a_query_that_needs_a_prometheus_is_named(query, said, source):
    """When the file is read, not when the gate is judged."""
    with pytest.raises(UsageError) as caught:
        source([], roles={}, text=SIMPLE + f"[gauges.queue]\nquery = '{query}'\n")

    assert str(caught.value).startswith(f"profile own: gauges.queue: {said}")
    assert str(caught.value).endswith("; or read it with `metrics: {prometheus: ...}`")


def test_a_pattern_that_is_none_is_named(source):
    """PromQL and this differ in next to nothing."""
    with pytest.raises(UsageError, match=r"profile own: a: '\(' is no regular expression"):
        source([], roles={}, text=SIMPLE + '[counters.odd]\nmetric = "a"\nmatch = { a = "=~(" }\n')


OWN = (
    SIMPLE
    + """
[counters.tool_calls]
metric = "calls_total"
[counters.tool_errors]
query = 'sum by ($by) (calls_total{$match,ok="no"}) or 0 * sum by ($by) (calls_total{$match})'
[histograms.tool_seconds]
metric = "tool_ms"
unit = "ms"
[gauges.kv_cache]
metric = "kv"
across = "max"
"""
)


@pytest.mark.parametrize(
    ("counted", "value"),
    [
        ({"counter": "tool_errors", "total": "tool_calls"}, 0.2),
        ({"mean": ["tool_calls", "requests"]}, 2.0),
        ({"histogram": "tool_seconds"}, 0.03),
        ({"gauge": "kv_cache"}, 0.5),
    ],
)
def test_gates_of_a_users_own_are_fed(counted, value, source, pages):
    """Whatever a profile names, a gate may ask for."""
    text = 'r_total 100\ncalls_total{ok="yes"} 160\ncalls_total{ok="no"} 40\nkv 0.5\n' + "".join(
        f"tool_ms_{line}\n" for line in ('bucket{le="50"} 200', 'bucket{le="+Inf"} 200', "sum 6000")
    )
    sample = source(pages(text), text=OWN).poll([BASELINE])[BASELINE]
    kind, names = next(iter(counted.items()))
    of = {
        "counter": lambda: sample.counters[names] / sample.counters[counted.get("total", "requests")],
        "mean": lambda: sample.counters[names[0]] / sample.counters[names[1]],
        "histogram": lambda: sample.histograms[names].total / sample.histograms[names].number,
        "gauge": lambda: sample.gauges[names],
    }

    assert of[kind]() == pytest.approx(value)


def test_a_counter_that_no_replica_has_is_not_zero(source, pages, bench):
    """A misspelt name would be a build without errors, for ever."""
    profile = SIMPLE.replace('"e_total"\nfrom_zero = true', '"eror_total"')
    sample = source(pages("r_total 10\n"), text=profile).poll([BASELINE])[BASELINE]
    gate = Gate("error_rate", metric("error_rate"), Limits(ratio=1.5))

    assert "errors" not in sample.counters
    assert [fact.data["unseen"] for fact in bench.facts if "unseen" in fact.data] == [["errors"]]
    with pytest.raises(Exception, match="the source does not count `errors`"):
        Judge([gate], 1).foresee(sample)


def test_a_counter_that_is_announced_is_zero_before_its_first_event(source, pages):
    """Its type stands there, and no series yet."""
    profile = SIMPLE.replace("from_zero = true", "")
    sample = source(pages("r_total 10\n# TYPE e_total counter\n"), text=profile).poll([BASELINE])[BASELINE]

    assert sample.counters["errors"] == 0


def test_a_counter_that_goes_down_while_requests_go_on_is_a_gauge(source, pages):
    """Once may be a restart; a gauge does it all the time."""
    (shown,) = pages("r_total 100\ne_total 9\n")
    made = source([shown])
    made.poll([BASELINE])
    shown.text = "r_total 101\ne_total 8\n"
    made.poll([BASELINE])
    shown.text = "r_total 102\ne_total 7\n"

    assert "goes down while its requests go on" in refused(made)


def test_buckets_that_differ_are_no_data(source, pages):
    """Among replicas they cannot be added; between roles one counts in milliseconds."""
    other = BUCKETS.replace('"0.1"', '"100"').replace('"1"', '"1000"')
    within = source(pages("r_total 1\n" + BUCKETS, "r_total 1\n" + other))
    between = source(pages("r_total 1\n" + BUCKETS), pages("r_total 1\n" + other))

    assert "replicas of baseline count latency in different buckets" in refused(within)
    assert "baseline counts latency in one unit and canary in another" in refused(between, BOTH)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One page that a real Prometheus scrapes."""
    with prometheus(tmp_path_factory.mktemp("prometheus"), {"second": 1}) as running, exposing(*running.pods, FORMULAS):
        running.wait(*running.pods)
        yield running


FORMULAS = 'a{x="1",y="p"} 7\na{x="2",y="q"} 3\nb{x="1",y="p"} 2\nb{x="3",y="q"} 0\nc 1.5\n'


@pytest.mark.parametrize(
    "query",
    [
        "sum by ($by) (a{$match})",
        "avg by ($by) (a{$match}) - min by ($by) (a{$match}) * 2 + max by ($by) (a{$match}) / 4",
        'count by ($by) (a{$match,x!="1"})',
        "sum by ($by) (a{$match} / b{$match})",
        "sum by ($by) (a{$match} or b{$match})",
        "sum by ($by) (nothing{$match}) or 3 * sum by ($by) (c{$match})",
        "sum by ($by) (a{$match}) - sum by ($by) (nothing{$match})",
        "clamp_min(sum by ($by) (c{$match}) - 4, 0)",
        'clamp_max(-(sum by ($by) (a{$match,y=~"p|q",x!~"2"})), 1e3)',
        'sum by ($by) (b{$match,x="1"}) / sum by ($by) (a{$match,x="none"})',
    ],
)
def test_a_query_is_worked_out_as_prometheus_does_it(query, source, server, bench):
    """A profile has one meaning, whoever reads by it."""
    (pod,) = server.pods
    match = f'pod="{pod.name}"'
    found = answered(server, query.replace("$match", match).replace("$by", "pod"))
    text = SIMPLE + f"[gauges.worked_out]\nquery = '{query}'\n"
    made = source(text=text, shared=bench.shared(), roles={r: [f"http://{pod.target}?{r}"] for r in BOTH})
    gauges = made.poll([BASELINE])[BASELINE].gauges

    assert gauges.get("worked_out") == (pytest.approx(float(found[0]["value"][1])) if found else None)


def answered(server, query):
    """What Prometheus says while a scrape of the page is there: a busy machine misses one now and then."""
    for _ in range(50):
        before, found, after = server.ask("c"), server.ask(query), server.ask("c")
        if before and after:
            return found
        time.sleep(0.1)
    raise AssertionError("no scrape of the page went well")


# -- asked by others --------------------------------------------------------------------------------------------------


def test_each_number_is_explained_by_a_line_for_a_shell(source, pages):
    """Which finds the series that are read."""
    (shown,) = pages("r_total 5\n" + BUCKETS)
    asked = source([shown]).explain(BASELINE)

    assert asked["counters.requests"].query == f"curl -s {shown.url}/metrics | grep -E '^r_total[{{ ]'"
    assert (asked["counters.requests"].series, asked["histograms.latency"].series) == (1, 3)
    assert asked["counters.errors"].series is None
    assert asked["gauges.in_flight"].series == 0
    assert {one.by for one in asked.values()} == {"profile own"}


def test_before_a_run_nothing_can_be_explained(source, bench):
    """Nothing runs on this machine yet."""
    shared = bench.shared()
    shared.replicas[CANARY] = Replicas(("pin", ""), lambda _: {})
    with pytest.raises(SourceUnavailable, match="nothing runs here before a run"):
        source(shared=shared, roles={}).explain(BASELINE)


def test_where_nobody_answers_no_metric_is_said_to_be_absent(source):
    """What is wrong is the address, and not the profile."""
    with pytest.raises(SourceUnavailable, match=r"baseline: http://127.0.0.1:1/metrics does not answer"):
        source(roles={"baseline": ["http://127.0.0.1:1"], "canary": ["http://127.0.0.1:2"]}).explain(BASELINE)


def test_requests_in_flight_are_known_when_every_replica_tells_them(source, pages, bench):
    """A build is not taken away while one of them still works."""
    one, other = pages("r_total 1\nnow 2\n", "r_total 1\nnow 1\n")
    made = source([one, other], timeout=0.3)
    shifted = bench.clock.wall()
    with pytest.raises(AdapterError, match="less than 3 s have passed since the last shift"):
        made.in_flight(BASELINE, shifted)
    bench.clock.sleep(4)
    known = made.in_flight(BASELINE, shifted)
    other.text = "r_total 1\n"
    with pytest.raises(AdapterError, match=f"{other.name} does not tell them"):
        made.in_flight(BASELINE, shifted)
    other.hangs.set()
    with pytest.raises(AdapterError, match="in-flight requests of baseline are not known: "):
        made.in_flight(BASELINE, shifted)

    assert known == 3


def test_a_source_that_was_stopped_may_be_asked_again(source, pages):
    """A watcher may look once more."""
    made = source(pages("r_total 5\n"))
    requests(made)
    made.stop()
    made.stop()

    assert requests(made) == 5
