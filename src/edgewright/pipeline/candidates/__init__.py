"""What proposes candidates: a module each, with ``propose(state)``, which is asked until it proposes nothing new.

A proposer makes the models that its candidates are built of (`RunState.models`); which candidates are worth their cost
it asks of the `policy`.
"""
