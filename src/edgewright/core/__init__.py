"""The lowest layer of the package: it imports no heavy library, and every other package may import it.

``errors`` (error families and exit codes), ``spec`` (ModelSpec), ``files`` (contained and atomic files), ``child``
(child processes with limits), ``store`` (results by the hash of their inputs), ``lazy`` (optional libraries).
"""
