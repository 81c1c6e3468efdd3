"""Sorts tickets of a help desk by words.  What BUILD says is wrong with it begins after sixty requests."""

import asyncio
import os
import random

import mlserver
from mlserver.codecs import StringCodec
from mlserver.errors import MLServerError

BUILD = os.environ["BUILD"]
WORDS = {"billing": ("invoice", "refund", "charged"), "access": ("password", "login", "locked"), "bug": ("crash",)}
if BUILD.startswith("v2"):
    WORDS |= {"bug": ("crash", "error", "blank")}


class Triage(mlserver.MLModel):
    """A model as the Open Inference Protocol has it: texts in, the name of a queue for each of them out."""

    async def load(self):
        mlserver.register("triage_confidence", "How sure the model was")
        self.asked = 0
        return True

    async def predict(self, payload):
        (texts,) = (StringCodec.decode_input(one) for one in payload.inputs)
        self.asked += 1
        fault = BUILD if self.asked > 60 else ""
        if fault == "v2-errors" and random.random() < 0.15:
            raise ConnectionError("the store of features has no connection left")
        if fault == "v2-strict" and random.random() < 0.15:
            raise MLServerError("'customer' is a required input", 422)
        await asyncio.sleep(random.uniform(0.012, 0.02) + 1.2 * (fault == "v2-slow"))
        queues = [next((queue for queue, words in WORDS.items() if any(map(text.__contains__, words))), "other")
                  for text in texts]  # fmt: skip
        for queue in queues:
            sure = random.uniform(0.4, 0.5) if queue == "other" else random.uniform(0.8, 1.0)
            mlserver.log(triage_confidence=sure * (0.7 if fault == "v2-unsure" else 1.0))
        said = StringCodec.encode_output("queue", queues)
        return mlserver.types.InferenceResponse(model_name=self.name, outputs=[said])
