"""A small OpenAI-compatible inference gateway to practise on: realistic latency, known faults, no model."""
