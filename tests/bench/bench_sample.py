"""A realistic report with made-up but plausible figures. Names try to break out of every format."""

from __future__ import annotations

import msgspec
import numpy as np

from edgewright.bench import budget
from edgewright.bench.choice import choose
from edgewright.bench.latency import summarize
from edgewright.bench.results import (
    CalibrationInfo,
    Choice,
    DataInfo,
    Environment,
    Finding,
    Load,
    Loss,
    Measurement,
    ModelInfo,
    Part,
    Ratio,
    Reference,
    Report,
    Sensitivity,
    StageTime,
    TargetInfo,
)
from edgewright.core.spec import ModelSpec, decode
from edgewright.data.sets import Item
from edgewright.tasks.classify import metric
from edgewright.tasks.scores import Accuracy, Scored

SPEC = decode(
    """{"name": "sample", "input": {"height": 8, "width": 8}, "classes": 10,
    "preprocess": {"resize": "exact", "resize_to": [8, 8]}}""",
    ModelSpec,
    "spec",
)
EVIL = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
NAMES = (
    EVIL, "</script><script>document.title='owned'</script>", "[/red]", "[bold]x[/bold]", "\x1b[31mred", "\x9b31m",
    "a\u202eb", ":smile:", "\ud800", "a\nb\r\nc", "x" * 300,
)  # fmt: skip
"""What layers and labels of a model from elsewhere may be called."""
IMAGES = 400
BUDGET = "top1 >= -1.0, p95 <= 20ms, agreement >= 93%"

# id, variant, runtime, precision, scheme, median ms, top-1 lost, share of other answers, MB, memory MB
VARIANTS = (
    ("openvino-bf16", "float", "openvino", "bf16", None, 7.1, -0.25, 0.04, 10.4, 168),
    ("openvino-f32", "float", "openvino", "f32", None, 13.4, 0.0, 0.0, 10.4, 151),
    ("openvino-int8-nncf-mixed", "int8 nncf mixed", "openvino", "int8", "openvino", 4.6, 0.5, 0.06, 2.9, 139),
    ("openvino-int8-nncf-bias", "int8 nncf bias", "openvino", "int8", "openvino", 4.1, 1.25, 0.09, 2.8, 138),
    ("openvino-int8-minmax", "int8 minmax", "openvino", "int8", "openvino", 4.0, 2.5, 0.13, 2.8, 138),
    ("onnxruntime-f32", "float", "onnxruntime", "f32", None, 12.2, 0.0, 0.0, 10.3, 112),
    ("onnxruntime-int8-x86-vnni", "int8 minmax", "onnxruntime", "int8", "ort-x86-vnni", 6.0, 0.75, 0.08, 2.8, 96),
    ("onnxruntime-int8-entropy", "int8 entropy", "onnxruntime", "int8", "ort-x86-vnni", 6.1, 3.75, 0.17, 2.8, 97),
    ("onnxruntime-int8-per-tensor", "int8 per tensor", "onnxruntime", "int8", "ort-x86", 5.8, 81.0, 0.99, 2.7, 95),
)


def report(evil: bool = True, labelled: bool = True) -> Report:
    """The sample; `evil` puts markup into every name and reason, without `labelled` there is no top-1."""
    rng = np.random.default_rng(7)
    right = rng.random(IMAGES) < 0.8125
    plan = budget.parse(BUDGET if labelled else "agreement >= 93%")
    base = timed(rng, 31.5, 300)
    reference = Reference(
        runtime="torch",
        device="CPU (2 cores)",
        precision="f32",
        latency=base,
        size_bytes=10_400_000,
        why="No CUDA device: the CPU is used instead of the reference GPU",
        cold_start_ms=1840.0,
        peak_memory_bytes=412_000_000,
        accuracy=_accuracy(rng, right, right, 0.0) if labelled else None,
    )
    measured = [_measured(rng, right, labelled, *row) for row in VARIANTS]
    measurements = [
        msgspec.structs.replace(m, budget=budget.check(m, reference, plan)) for m in (*measured, *_unmeasured(evil))
    ]
    return Report(
        created="2026-11-21T09:30:00Z",
        model=ModelInfo(
            name=f"mobilenetv1_075 {EVIL}" if evil else "mobilenetv1_075",
            source="torch:mobilenet:v1_075",
            digest="9c1f" * 16,
            parameters=2_585_560,
            classes=1000,
            input_shape=(1, 3, 224, 224),
        ),
        target=TargetInfo(name="x86-vnni", title="x86-64 with AVX-512 VNNI", measured=True),
        budget=plan.text,
        environment=_environment(),
        data=DataInfo(
            name="imagenet",
            split="eval",
            images=IMAGES,
            labelled=IMAGES if labelled else 0,
            classes=1000,
            digest="5e" * 32,
            calibration=CalibrationInfo(name="imagenet", split="calib", images=100, digest="77" * 32),
        ),
        reference=reference,
        measurements=tuple(measurements),
        choice=choose(measurements, reference, plan),
        provenance={
            "edgewright": "0.1.0",
            "command": "edgewright optimize ...",
            "seed": 0,
            "parity": {"cosine": 0.99999981, "top1": 1.0},
        },
        stages=(
            StageTime(stage="export", seconds=14.2, key="ab12"),
            StageTime(stage="quantize", id="int8 minmax", seconds=22.8, key="cd34", reused=True),
            StageTime(stage="latency", seconds=61.0, key="ef56"),
        ),
    )


def evil() -> Report:
    """The sample with every kind of name and reason."""
    found = report()
    renamed = (msgspec.structs.replace(m, reason=m.reason and " ".join(NAMES)) for m in found.measurements)
    more = tuple(
        Measurement(id=name, variant=name, runtime="onnxruntime", precision="int8", status="failed", reason=name)
        for name in NAMES
    )
    return msgspec.structs.replace(found, measurements=(*renamed, *more))


def sensitivities() -> Sensitivity:
    """Layers with every kind of name, one of them slower in INT8."""
    layers = tuple(
        Part(
            layers=(name,), operators=("Conv", name), alone=Loss(sqnr_db=40.0 - 2 * i, loss=0.001 * (i + 1)),
            others=Loss(sqnr_db=15.0, loss=0.01), float_ms=0.2 + 0.1 * i, int8_ms=0.25 + 0.05 * i,
        )
        for i, name in enumerate(NAMES)
    )  # fmt: skip
    whole = Loss(sqnr_db=14.0, loss=0.02)
    return Sensitivity(id=f"int8 {EVIL}", float_id="openvino-f32", images=100, whole=whole, blocks=(), layers=layers)


def nothing_inside() -> Report:
    """The sample with a budget that nothing meets."""
    found = report(evil=False)
    plan = budget.parse("top1 >= -1.0, p95 <= 1ms")
    measurements = tuple(
        msgspec.structs.replace(m, budget=budget.check(m, found.reference, plan)) for m in found.measurements
    )
    choice = choose(measurements, found.reference, plan)
    return msgspec.structs.replace(found, budget=plan.text, measurements=measurements, choice=choice)


def only_built() -> Report:
    """A report for another device: artifacts, and nothing measured."""
    found = report(evil=False)
    built = tuple(
        Measurement(id=m.id, variant=m.variant, runtime=m.runtime, precision=m.precision, status="built", size_bytes=1)
        for m in found.measurements
    )
    target = TargetInfo(name="raspberry-pi-5", title="Raspberry Pi 5", measured=False, why="this machine is x86-64")
    choice = Choice(why="No variant was measured: 0 failed, 12 were only built.")
    return msgspec.structs.replace(found, measurements=built, target=target, choice=choice, reference=None)


def timed(rng, median, count):
    """The latency of an artifact: `count` samples from about `median` milliseconds on, with some spikes."""
    body = median * (1 + rng.gamma(1.2, 0.025, count))
    spikes = rng.random(count) < 0.04
    return summarize([np.where(spikes, body * rng.uniform(1.2, 1.7, count), body) / 1e3])


def _accuracy(rng, reference, right, changed) -> Accuracy:
    outputs = np.zeros((IMAGES, 10), np.float32)
    outputs[np.arange(IMAGES), np.where(right, 0, 1)] = 1
    theirs = np.zeros_like(outputs)
    theirs[np.arange(IMAGES), np.where(reference, 0, 1)] = 1
    found = metric.compare(outputs, theirs, [Item(f"{number}.png", 0) for number in range(IMAGES)], SPEC)
    return msgspec.structs.replace(
        found,
        scores={**found.scores, "top5": Scored(value=(found.score or 0) * 0.15 + 82)},
        agreement=100 * (1 - changed),
        sqnr_db=60 - 48 * changed**0.15 if changed else 112.0,
    )


def _measured(rng, right, labelled, id, variant, runtime, precision, scheme, median, lost, changed, mb, memory):
    ours = right.copy()
    flips = rng.permutation(IMAGES)
    wrong_way = [i for i in flips if right[i]][: max(0, round(lost * 4)) + round(changed * 60)]
    right_way = [i for i in flips if not right[i]][: max(0, round(-lost * 4)) + round(changed * 60)]
    ours[wrong_way], ours[right_way] = False, True
    found = _accuracy(rng, right, ours, changed)
    if not labelled:
        found = Accuracy(images=IMAGES, primary="top1", agreement=found.agreement, sqnr_db=found.sqnr_db)
    speedup = 31.5 / median
    return Measurement(
        id=id,
        variant=variant,
        runtime=runtime,
        precision=precision,
        scheme=scheme,
        status="ok",
        options={"threads": 2, "hint": "latency"},
        latency=timed(rng, median, 900),
        accuracy=found,
        speedup=Ratio(value=speedup, low=speedup * 0.97, high=speedup * 1.03),
        size_bytes=int(mb * 1e6),
        peak_memory_bytes=memory * 1_000_000,
        cold_start_ms=90 + 20 * median,
        artifact=f"artifacts/{id}",
        described={"precision": precision, "threads": 2},
        provenance={"method": variant} if scheme else {},
    )


def _unmeasured(evil: bool) -> tuple[Measurement, ...]:
    reason = "QLinearConv node '/blocks/3/conv' returned a non-zero status: zero point out of range."
    return (
        Measurement(
            id=f"onnxruntime-int8-nncf {EVIL}" if evil else "onnxruntime-int8-nncf",
            variant="int8 nncf",
            runtime="onnxruntime",
            precision="int8",
            scheme="ort-x86-vnni",
            status="failed",
            stage="latency",
            reason=f"{reason} {EVIL if evil else ''} | pipe",
            size_bytes=2_800_000,
            findings=(Finding(level="warning", code="runtime", text=f"fails on this runtime {EVIL if evil else ''}"),),
        ),
        Measurement(
            id="openvino-int8-smoothquant",
            variant="int8 smoothquant",
            runtime="openvino",
            precision="int8",
            scheme="openvino",
            status="failed",
            stage="quantize",
            reason="took longer than 900 s and was stopped.",
        ),
        Measurement(
            id="tensorrt-f16",
            variant="float",
            runtime="tensorrt",
            precision="f16",
            status="built",
            size_bytes=5_600_000,
            reason="this machine has no NVIDIA GPU",
        ),
    )


def _environment() -> Environment:
    return Environment(
        cpu="Intel(R) Xeon(R) Platinum 8481C",
        arch="x86_64",
        isa=("avx2", "avx512", "avx512_vnni", "amx_int8", "amx_bf16"),
        cores=2,
        physical_cores=2,
        memory_bytes=16_800_000_000,
        governor="performance",
        container="docker",
        os="Debian GNU/Linux 12 (bookworm), Linux 6.1",
        python="3.11.7",
        libraries={
            "numpy": "2.4.6",
            "onnxruntime": "1.31.1",
            "openvino": "2026.4.1",
            "torch": "2.15.0",
            "nncf": "3.4.0",
        },
        load=Load(
            other_cpu_percent=1.2, steal_percent=0.1, throttled_ms=0.0, load_average_start=0.4, load_average_end=1.9
        ),
    )
