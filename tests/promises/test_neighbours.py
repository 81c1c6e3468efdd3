"""Unrelated pytest projects are untouched: the same outcome with and without us."""

import textwrap

import pytest

PROJECTS = {
    "own fixtures": {
        "test_it.py": """
            import pytest
            @pytest.fixture(params=[1, 2])
            def stage(request): return request.param
            @pytest.fixture
            def canary(): return "bird"
            @pytest.fixture
            def baseline(): return 3
            def test_stage(stage): assert stage in (1, 2)
            def test_canary(canary, baseline): assert canary == "bird" and baseline == 3
        """,
    },
    "own stage by parametrize": {
        "test_it.py": """
            import pytest
            @pytest.mark.parametrize("stage", ["build", "deploy"])
            def test_stage(stage): assert stage
        """,
    },
    "own --image": {
        "conftest.py": "def pytest_addoption(parser): parser.addoption('--image', default='none')",
        "test_it.py": "def test_image(request): assert request.config.getoption('--image') == 'nginx'",
        "args": "--image=nginx",
    },
    "an Argo manifest named rollout.yaml": {
        "rollout.yaml": "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: x}\nservice: not-ours\n",
        "test_it.py": "def test_one(): pass",
    },
    "a rollout.yaml that is no YAML": {
        "rollout.yaml": "{{ template }}: [\n",
        "test_it.py": "def test_one(): pass",
    },
    "strict markers": {
        "pytest.ini": "[pytest]\naddopts = --strict-markers\nmarkers = own: mine\n",
        "test_it.py": "import pytest\n@pytest.mark.own\ndef test_one(): pass",
    },
    "a missing fixture named canary": {
        "test_it.py": "def test_one(canary): pass",
    },
}


def outcome(pytester, *args):
    """What pytest makes of the project: exit status and counts."""
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", *args)
    return int(result.ret), result.parseoutcomes(), "fixture 'canary' not found" in result.stdout.str()


@pytest.mark.parametrize(
    "others",
    [[], ["-p", "pytest_replay"], ["-p", "no:repeat", "-p", "pytest_embedded.plugin"]],
    ids=["alone", "replay", "embedded"],
)
@pytest.mark.parametrize("name", PROJECTS)
def test_a_project_without_a_rollout_is_untouched(pytester, monkeypatch, name, others):
    """Being installed is no reason to be noticed."""
    monkeypatch.delenv("PYTEST_PLUGINS", raising=False)
    files = dict(PROJECTS[name])
    args = files.pop("args", "").split()
    for file, text in files.items():
        (pytester.path / file).write_text(textwrap.dedent(text))
    without = outcome(pytester, "-p", "no:canary", *others, *args)
    with_us = outcome(pytester, *others, *args)

    assert with_us == without


def test_a_fixture_of_the_users_own_below_a_rollout_wins(project):
    """We act only when the fixture in the closure is ours."""
    run = project.write(
        test_own="""
        import pytest
        @pytest.fixture(params=["mine"])
        def stage(request): return request.param
        def test_own(stage): assert stage == "mine"
        """
    ).run(image=None)

    assert run.rows["test_own[mine]"] == "passed"


def test_tests_elsewhere_in_the_session_do_not_see_our_fixtures(project):
    """The names are lent to the folder of the rollout only."""
    project.write()
    (project.pytester.path / "rollouts/test_elsewhere.py").write_text("def test_one(canary): pass")
    run = project.run(image=None)

    assert run.rows["test_one"] == "error"


def test_image_taken_by_another_is_ours_as_canary_image(project):
    """Where --image is somebody's, --canary-image says the same."""
    project.write()
    (project.pytester.path / "conftest.py").write_text("def pytest_addoption(parser): parser.addoption('--image')")
    run = project.run("--canary-image=gateway:v2", image=None, process=True)

    assert run.exit == 0
    assert run.did("promote v2")
