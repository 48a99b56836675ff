"""The pipeline: it runs `optimize` and the other verbs.

``recipe`` and ``candidates`` say what to build. ``builder`` builds it by ``stages``, which run in child processes and
keep their results in the store. ``run`` goes from source and data to measurements (``state``), ``report`` writes them
down, and ``jobs`` has the other verbs.

The packages export, quantize and bench do not import each other: the pipeline passes functions of one to another.
"""
