"""What `import edgewright` costs, against importing numpy, Pillow and msgspec together, each in a fresh process."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import Any

CODE = {
    "python": "pass",
    "numpy, Pillow, msgspec": "import numpy, PIL.Image, msgspec",
    "import edgewright": "import edgewright",
    "edgewright.open": "import edgewright; edgewright.open",
}


def started(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


def test_ratios(benchmark: Any) -> None:
    """The ratio that must stay under 1.3, without the interpreter's own start, interleaved so that drift cancels."""
    rounds = []
    benchmark.pedantic(lambda: rounds.append({what: started(code) for what, code in CODE.items()}), rounds=11)
    own = {what: statistics.median(r[what] - r["python"] for r in rounds) for what in CODE}
    base = own["numpy, Pillow, msgspec"]
    for what in ("import edgewright", "edgewright.open"):
        benchmark.extra_info[what] = round(own[what] / base, 2)
        print(f"\n{what}: {own[what] / base:.2f} x of {1e3 * base:.0f} ms for numpy, Pillow and msgspec")
