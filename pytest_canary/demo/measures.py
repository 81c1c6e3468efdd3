"""What the demo gateway counts about itself, for ``/metrics``."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pytest_canary.demo.builds import Build

BOUNDS = (
    0.01,
    0.02,
    0.03,
    0.04,
    0.05,
    0.065,
    0.08,
    0.1,
    0.125,
    0.15,
    0.2,
    0.25,
    0.3,
    0.4,
    0.5,
    0.75,
    1,
    1.5,
    2,
    3,
    5,
    10,
)
TOKENS = (1, 2, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 256)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Measures:
    """One registry per gateway: requests, times in seconds, tokens, and what is in flight."""

    def __init__(self, build: Build) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter("gateway_requests", "Chat requests answered.", ["code"], registry=registry)
        self.seconds = Histogram(
            "gateway_request_duration_seconds", "Time to the last byte.", registry=registry, buckets=BOUNDS
        )
        self.first_token = Histogram(
            "gateway_time_to_first_token_seconds", "Time to the first token.", registry=registry, buckets=BOUNDS
        )
        self.gap = Histogram(
            "gateway_inter_token_latency_seconds", "Time from one token to the next.", registry=registry, buckets=BOUNDS
        )
        self.tokens = Counter("gateway_generated_tokens", "Tokens generated.", registry=registry)
        self.prompt_tokens = Counter("gateway_prompt_tokens", "Tokens of the prompts.", registry=registry)
        self.answer_tokens = Histogram(
            "gateway_answer_tokens", "Tokens of an answer.", registry=registry, buckets=TOKENS
        )
        self.refusals = Counter("gateway_refusals", "Requests that the model would not answer.", registry=registry)
        self.in_flight = Gauge("gateway_requests_in_flight", "Chat requests begun and not ended.", registry=registry)
        about = Gauge("gateway_build_info", "Always 1.", ["build", "model_version"], registry=registry)
        about.labels(build.name, build.model_version).set(1)

    def answered(self, asked: int, said: int, *, refused: bool) -> None:
        """Count the tokens of one prompt and its answer."""
        self.prompt_tokens.inc(asked)
        self.tokens.inc(said)
        self.answer_tokens.observe(said)
        self.refusals.inc(refused)

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)
