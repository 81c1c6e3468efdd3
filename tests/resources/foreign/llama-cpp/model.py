"""model.py FILE [--seed N] [--layers N] [--end N]: a small language model of random weights, as llama.cpp reads it.

It speaks English words in no order.  ``--end`` is how ready it is to stop: the mean length of an answer falls with it.
What a GGUF file looks like: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import argparse
import math
import random
import struct
from array import array
from pathlib import Path

SAID = """
    the a of and to in is was for on as with by at from it that this river city capital bridge north south old new
    people market train morning paper stone garden summer winter water light music history kitchen window street
    answer question word letter number country island forest mountain road horse bread coffee table door house
"""
WORDS = SAID.split()
WIDTH, HEADS, INNER, CONTEXT = 64, 4, 128, 2048
PLAIN, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
U32, F32, STRING, ARRAY, I32 = 4, 6, 8, 9, 5
TEMPLATE = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}"


def vocabulary() -> list[tuple[str, int]]:
    """Every token and its kind: three of control, all bytes, words."""
    control = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)]
    spelt = [(f"<0x{byte:02X}>", BYTE) for byte in range(256)]
    return [*control, *spelt, *((f"\u2581{word}", PLAIN) for word in WORDS)]


def text(value: str) -> bytes:
    """A string with its length."""
    return struct.pack("<Q", len(value.encode())) + value.encode()


def described(key: str, kind: int, value: object, of: int = 0) -> bytes:
    """A key and its value; ``of`` is the kind of an array's items."""
    codes = {U32: "<I", F32: "<f", I32: "<i"}

    def one(kind: int, value: object) -> bytes:
        return text(str(value)) if kind == STRING else struct.pack(codes[kind], value)

    if kind == ARRAY:
        items = list(value)  # type: ignore[call-overload]
        return text(key) + struct.pack("<IIQ", kind, of, len(items)) + b"".join(one(of, item) for item in items)
    return text(key) + struct.pack("<I", kind) + one(kind, value)


def about(name: str, layers: int) -> list[bytes]:
    """What llama.cpp has to know of the model and its tokens."""
    tokens = vocabulary()
    shape = {
        "context_length": CONTEXT, "embedding_length": WIDTH, "block_count": layers, "feed_forward_length": INNER,
        "attention.head_count": HEADS, "attention.head_count_kv": HEADS, "rope.dimension_count": WIDTH // HEADS,
        "vocab_size": len(tokens),
    }  # fmt: skip
    ids = {"bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0}
    return [
        described("general.architecture", STRING, "llama"),
        described("general.name", STRING, name),
        *(described(f"llama.{key}", U32, value) for key, value in shape.items()),
        described("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
        described("tokenizer.ggml.model", STRING, "llama"),
        described("tokenizer.ggml.tokens", ARRAY, [token for token, _ in tokens], STRING),
        described("tokenizer.ggml.scores", ARRAY, [0.0 if kind != PLAIN else -1.0 for _, kind in tokens], F32),
        described("tokenizer.ggml.token_type", ARRAY, [kind for _, kind in tokens], I32),
        *(described(f"tokenizer.ggml.{key}", U32, value) for key, value in ids.items()),
        described("tokenizer.chat_template", STRING, TEMPLATE),
    ]


def weights(dice: random.Random, layers: int, end: float) -> dict[str, tuple[tuple[int, ...], array[float]]]:
    """Name -> shape, inner dimension first, and numbers.

    No layer adds to the first two numbers of a token's vector, so their columns of the last matrix decide.  The first
    is the same for all tokens: words are likely, bytes are not.  The second tells words from all others: the end is
    likely after a word, so no answer is empty.
    """

    def matrix(wide: int, high: int, silent: int = 0) -> tuple[tuple[int, int], array[float]]:
        scale = 1 / math.sqrt(wide)
        values = array("f", (dice.gauss(0, scale) for _ in range(wide * high)))
        values[: silent * wide] = array("f", [0.0] * silent * wide)
        return (wide, high), values

    def ones() -> tuple[tuple[int], array[float]]:
        return (WIDTH,), array("f", [1.0] * WIDTH)

    tokens = vocabulary()
    (shape, embedded), (_, last) = matrix(WIDTH, len(tokens)), matrix(WIDTH, len(tokens))
    for number, (_, kind) in enumerate(tokens):
        embedded[number * WIDTH : number * WIDTH + 2] = array("f", [2.0, 2.0 if kind == PLAIN else -2.0])
        last[number * WIDTH : number * WIDTH + 2] = array("f", [1.0 if kind == PLAIN else -9.0, 0.0])
    last[2 * WIDTH : 2 * WIDTH + 2] = array("f", [1.0, end])
    found = {"token_embd.weight": (shape, embedded), "output.weight": (shape, last), "output_norm.weight": ones()}
    for layer in range(layers):
        made = {"attn_norm": ones(), "ffn_norm": ones(), "attn_output": matrix(WIDTH, WIDTH, silent=2)}
        made |= {f"attn_{part}": matrix(WIDTH, WIDTH) for part in "qkv"}
        made |= {f"ffn_{part}": matrix(WIDTH, INNER) for part in ("gate", "up")}
        made |= {"ffn_down": matrix(INNER, WIDTH, silent=2)}
        found |= {f"blk.{layer}.{name}.weight": one for name, one in made.items()}
    return found


def write(path: Path, seed: int, layers: int, end: float) -> None:
    """Make the file."""
    tensors, keys = weights(random.Random(seed), layers, end), about(path.stem, layers)
    head = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(keys)), *keys]
    body, size = list[bytes](), 0
    for name, (shape, numbers) in tensors.items():
        head.append(text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, size))
        data = numbers.tobytes()
        body.append(data + bytes(-len(data) % 32))
        size += len(body[-1])
    start = b"".join(head)
    path.write_bytes(start + bytes(-len(start) % 32) + b"".join(body))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--end", type=float, default=2.0)
    given = parser.parse_args()
    write(given.file, given.seed, given.layers, given.end)
