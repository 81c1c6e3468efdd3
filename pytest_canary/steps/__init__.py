"""The steps of a rollout: one verb each, over ports only."""
