"""What the demo gateway says: the same prompt always has the same answer, so that answers can be checked."""

from __future__ import annotations

from math import ceil
from random import Random
from typing import Any

KNOWN = (
    ("capital of france", "The capital of France is Paris."),
    ("capital of japan", "The capital of Japan is Tokyo."),
    ("two plus two", "Two plus two is four, written 4."),
    ("largest planet", "The largest planet of the solar system is Jupiter."),
    ("boiling point of water", "At sea level water boils at 100 degrees Celsius."),
    ("translate 'good morning' to german", "Good morning is Guten Morgen in German."),
    ("three primary colours", "The three primary colours are red, yellow and blue."),
)

TEXT = (
    "a build that answers slowly is as bad for its users as one that fails and so the share of traffic grows only "
    "while latency errors and tokens stay where they were before the change"
)
WORDS = TEXT.split()
REFUSAL = "I'm sorry, but I can't help with that."


def question(messages: list[dict[str, Any]]) -> str:
    """Return the text of the last message, whether it is a string or a list of parts."""
    content = messages[-1].get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))


def answer(asked: str) -> str:
    """Return the answer to ``asked``: a known one, or 8 to 24 words drawn from the question itself."""
    lowered = asked.lower()
    for known, text in KNOWN:
        if known in lowered:
            return text
    draw = Random(lowered)
    return " ".join(draw.choices(WORDS, k=draw.randint(8, 24))).capitalize() + "."


def drawn_out(text: str, wordiness: float) -> list[str]:
    """Return the words of ``text``, said again until there are ``wordiness`` times as many."""
    words = text.split(" ")
    return (words * ceil(wordiness))[: round(len(words) * wordiness)]


def pieces(text: str, most: int = 10) -> list[str]:
    """Cut ``text`` into at most ``most`` pieces of whole words, which join to ``text`` again."""
    words = [word + " " for word in text.split(" ")]
    words[-1] = words[-1].rstrip(" ")
    size = -(-len(words) // most)
    return ["".join(words[start : start + size]) for start in range(0, len(words), size)]
