"""How often gates stop a good build, and how soon a bad one: many simulated rollouts through the very rules.

A batch goes through the stages together; what decides is the panel that judges a live run, which is a batch of one.
"""
