"""`python model.py FOLDER`: a language model without weights, for `vllm serve FOLDER --load-format dummy`.

Two layers of a Llama and a tokenizer trained on the sentences below; nothing is downloaded.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SENTENCES = (
    "The quick brown fox jumps over the lazy dog, and the dog does not mind.",
    "What is the capital of France? The capital of France is Paris.",
    "A rollout is a test suite: it ships the build and stops at the first gate that fails.",
)
BEGIN, END = "<s>", "</s>"
CHAT = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant:"
SHAPE = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float32",
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "hidden_act": "silu", "tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": 1, "vocab_size": 512,
}  # fmt: skip


def write(folder: Path) -> None:
    """Everything that a model's folder has but its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=512, special_tokens=[BEGIN, END], initial_alphabet=alphabet)
    words.train_from_iterator(SENTENCES, trainer)
    words.save(str(folder / "tokenizer.json"))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BEGIN, "eos_token": END, "chat_template": CHAT}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    (folder / "config.json").write_text(json.dumps(SHAPE))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
