"""Reports in the formats of CI systems and benchmark tools: one module per format, each a pure function of a report.

Each module has ``render(report) -> dict[str, str]``, the content of each file by its name. `bench.report_formats` has
the table of the formats.
"""
