"""How long a command takes from its start to its end, as ratios to ``python -c "import numpy, PIL"``, interleaved.

pytest tests/perf/test_start.py --benchmark-only -s
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from edgewright.bench import report_json
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.runtimes import artifact, bundle
from edgewright.runtimes.options import Options
from edgewright.tasks.classify.spec import Classify

ROUNDS = 9
MOST = {"--help": 2.5, "run, onnxruntime": 4.0, "run, openvino": 4.5, "report": 4.0, "report -o x.html": 6.0}
"""So many times the start of numpy and Pillow at most, on an idle machine."""


@pytest.fixture
def commands(tmp_path: Path) -> dict[str, list[str]]:
    """A command line by its name; bundles are of a network of one layer, so that starting is all that takes time."""
    onnx = pytest.importorskip("onnx")
    sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
    from bench_sample import report

    graph = onnx.parser.parse_graph(
        "means (float[1,3,32,32] images) => (float[1,3] logits) { m = GlobalAveragePool(images) logits = Flatten(m) }"
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)]), tmp_path / "means.onnx")
    spec = ModelSpec(
        name="means",
        inputs=(Input(height=32, width=32, preprocess=Preprocess(resize="exact", resize_to=(32, 32))),),
        task=Classify(classes=3),
    )
    found: dict[str, list[str]] = {"--help": ["--help"]}
    Image.new("RGB", (640, 480), "red").save(tmp_path / "red.jpg")
    for runtime in ("onnxruntime", "openvino"):
        pytest.importorskip(runtime)
        artifact.build(tmp_path / "means.onnx", spec, Options(runtime=runtime), tmp_path / runtime)
        bundle.write(tmp_path / runtime, tmp_path / f"{runtime}.edge", name="means", provenance={})
        found[f"run, {runtime}"] = ["run", str(tmp_path / f"{runtime}.edge"), str(tmp_path / "red.jpg")]
    report_json.write(report(evil=False), tmp_path / "report.json")
    found["report"] = ["report", str(tmp_path)]
    found["report -o x.html"] = ["report", str(tmp_path), "-o", str(tmp_path / "x.html")]
    found["gate"] = ["gate", str(tmp_path), "--budget", "top1 >= -99"]
    found["bundle inspect"] = ["bundle", "inspect", str(tmp_path / "onnxruntime.edge")]
    return found


def seconds(*words: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def test_commands_start_within_a_few_times_the_start_of_numpy(benchmark: Any, commands: dict[str, list[str]]) -> None:
    for words in commands.values():  # bytecode, the plots' script
        seconds("-m", "edgewright", *words)
    rounds = []

    def once() -> None:
        base = seconds("-c", "import numpy, PIL")
        rounds.append({"numpy": base} | {name: seconds("-m", "edgewright", *w) for name, w in commands.items()})

    benchmark.pedantic(once, rounds=ROUNDS)
    base = statistics.median(r["numpy"] for r in rounds)
    ratios = {name: statistics.median(r[name] / r["numpy"] for r in rounds) for name in commands}
    for name, ratio in ratios.items():
        benchmark.extra_info[name] = round(ratio, 2)
        print(f"\n{name}: {ratio:.2f} x of {1e3 * base:.0f} ms for numpy and Pillow", end="")
    slow = {name: ratio for name, ratio in ratios.items() if ratio > MOST.get(name, 4.0)}
    assert not slow, slow
