"""Proposers of candidates: one module each, with ``propose(state)``, which is called until it proposes nothing new.

A proposer adds the models that its candidates need (`RunState.models`). `policy` decides which candidates are worth
their cost.
"""
