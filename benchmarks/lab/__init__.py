"""Rollouts that are only numbers, and the rules of this tool and of its peers, all looking at the same ones."""
