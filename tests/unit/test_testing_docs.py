"""docs/testing-gates.md: what is copied from it works."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs/testing-gates.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)
ROLLOUT = """
service: gateway
stages: [5, 25, 100]
hold: 2m
min_requests: 300
poll: 5s
gates:
  error_rate: {ratio: 1.5}
  latency_p99: {ratio: 1.2}
simulate: {rate: 100, rates: {error_rate: 2%}}
targets:
  production:
    platform: {kubernetes: {namespace: inference, deployment: gateway}}
    router: {gateway-api: {route: gateway}}
    metrics: {prometheus: {url: "${PROM_BASE}"}}
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A project as the page has it."""
    (tmp_path / "rollouts/gateway").mkdir(parents=True)
    (tmp_path / "rollouts/gateway/rollout.yaml").write_text(ROLLOUT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("block", BLOCKS, ids=lambda text: re.findall(r"def test_(\w+)", text)[0][:40])
def test_every_block_of_the_page_passes(home, block):
    """Each test in it that needs no fixture is called."""
    names = {"__name__": "copied"}
    exec(compile(block, "docs/testing-gates.md", "exec"), names)
    tests = [one for name, one in names.items() if name.startswith("test_") and not one.__code__.co_argcount]

    assert home.exists()
    assert len(tests) >= 2
    for test in tests:
        test()


def test_the_page_names_everything_that_is_public_and_nothing_else():
    """A name that goes breaks somebody's tests."""
    import pytest_canary.testing as public

    listed = PAGE.partition("## Public names")[2].split("\n\n")[1].split("\n")[0]

    assert sorted(re.findall(r"`(\w+)`", listed)) == sorted(public.__all__)
