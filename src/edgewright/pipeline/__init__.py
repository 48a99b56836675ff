"""The main job, wired: what to build (``recipe``, ``candidates``), how each is built of stages that are kept in the
store and made in a child (``builder``, ``stages``), the run from source and data to figures (``state``, ``run``), its
``report``, and the other verbs (``jobs``).

The wings (export, quantize, bench) do not know each other; what one needs of another is handed over here.
"""
