"""start.py SERVER PORT TAG: llama.cpp's server with the build TAG, a model file and flags, on PORT."""

import os
import subprocess
import sys
from pathlib import Path

server, port, tag = sys.argv[1:]
MODELS = {"v2-deep": ["--layers=24", "--end=2.3"], "v2-rambles": ["--end=0"]}
"""Layers change how long answers are, and `--end` undoes that: the deep one is slow and nothing else."""
FLAGS = {
    "v2": ["-c", "4096", "-np", "4", "-b", "512", "-ub", "128"],
    "v2-cramped": ["-c", "1024", "-np", "4"],
    "v2-other": ["-c", "4096", "-np", "4", "--alias", "other"],
}

Path("run").mkdir(exist_ok=True)
model = Path("run", f"{tag}.gguf")
subprocess.run([sys.executable, "model.py", model, *MODELS.get(tag, [])], check=True)
flags = ["-m", str(model), "--alias", "small", *FLAGS.get(tag, ["-c", "4096", "-np", "4"])]
flags += ["-t", "1", "--metrics", "--no-webui", "--host", "127.0.0.1", "--port", port]
os.execvp(server, [server, *flags])
