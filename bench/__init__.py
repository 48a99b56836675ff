"""Session in, numbers out: what an artifact is worth, with the evidence.

``results`` (what report.json holds), ``statistics`` (pure, with sources), ``worker`` (what runs in the serving child),
``device`` (what a device is asked to do), ``latency`` (interleaved, by LoadGen's rules), ``accuracy`` (paired with the
reference), ``environment`` (the machine and the load beside it), ``budget`` (terms, checks, the choice;
``budget_text``: as people write them), ``gate`` (a report against a budget), ``baseline`` (against an earlier one).
The writers, one a format: ``report_json``, ``markdown``, ``html`` (with ``plots``), ``console``; ``figures`` is how
all of them write numbers.
"""
