"""The main job, wired: which candidates to build (``recipe``, ``candidates``), each step as a stage that is kept in the
store and runs in a child (``stages``), and the run from source and data to report and bundle (``run``).

The wings (export, quantize, bench) do not know each other; what one needs of another is handed over here.
"""
