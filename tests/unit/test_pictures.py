"""The pictures of the docs come from the rules, and are all there."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Every picture, drawn anew by the script as a person would run it."""
    folder = tmp_path_factory.mktemp("pictures")
    subprocess.run([sys.executable, str(DOCS / "pictures.py"), str(folder)], check=True, timeout=60)
    return folder


def _words(path):
    return [text.text for text in ET.parse(path).iter(f"{SVG}text")]


def test_the_script_draws_what_the_docs_show(drawn):
    """A rule that changes must change its picture: draw them again when this fails."""
    shown = sorted(path.name for path in (DOCS / "pictures").iterdir())
    assert sorted(path.name for path in drawn.iterdir()) == shown
    for name in shown:
        assert _words(drawn / name) == _words(DOCS / "pictures" / name)


def test_every_picture_stands_on_a_page_and_says_what_it_shows():
    """With words for who cannot see it."""
    pages = "\n".join(page.read_text() for page in DOCS.glob("*.md"))
    shown = re.findall(r"!\[([^\]]{20,})\]\(pictures/([a-z-]+\.svg)\)", pages)
    assert sorted(name for _, name in shown) == sorted(path.name for path in (DOCS / "pictures").iterdir())


def test_pictures_are_small_and_everything_lies_inside(drawn):
    """So a page loads at once, and no label is cut off."""
    for path in drawn.iterdir():
        assert path.stat().st_size < 40_000
        root = ET.parse(path).getroot()
        width, height = float(root.get("width")), float(root.get("height"))
        for text in root.iter(f"{SVG}text"):
            x, long = float(text.get("x")), 6.6 * len(text.text)
            start = {"start": x, "middle": x - long / 2, "end": x - long}[text.get("text-anchor")]
            assert start >= -2, text.text
            assert start + long <= width + 2, text.text
            assert 0 < float(text.get("y")) < height


def test_bad_builds_are_seen_to_fail_and_a_good_one_to_be_saved(drawn):
    """The pictures show the rule at work, not a drawing of it."""
    dots = list(ET.parse(drawn / "evidence.svg").iter(f"{SVG}circle"))
    assert len(dots) == 5
    mark = min(float(line.get("points").split(",")[1].split()[0]) for line in _dashed(drawn / "evidence.svg"))
    assert all(float(dot.get("cy")) <= mark for dot in dots)
    assert len(list(ET.parse(drawn / "bursts.svg").iter(f"{SVG}circle"))) == 1


def _dashed(path):
    return [line for line in ET.parse(path).iter(f"{SVG}polyline") if line.get("stroke-dasharray")]
