"""Measure artifacts, compare them, and write reports.

Content: ``results`` (the content of report.json), ``worker`` (runs in the serving child process), ``device`` (runs on a
device), ``latency`` (interleaved, by the rules of MLPerf LoadGen), ``accuracy`` (paired with the reference),
``environment`` (the machine and its load), ``budget`` (terms and checks), ``budget_text`` (budgets as people type
them), ``choice`` (the variant to ship), ``gate`` (a report against a budget), ``baseline`` (a report against an earlier
one).

There is one writer per format: ``report_json``, ``markdown``, ``html`` (with ``plots``) and ``console``. All of them
format numbers with ``figures``.
"""
