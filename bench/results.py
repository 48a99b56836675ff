"""The content of ``report.json`` as structs: the reference, the measurements and the choice.

Field names end in their units. Scores have the units of their task; agreements are in percent; differences of
percentages are in points. A figure that was not measured is None here and absent in the file, never zero.
`report_fields` describes each field; the structs of accuracy are in `edgewright.tasks.scores`.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec

from edgewright.core.statistics import Estimate, ratio_of_rounds
from edgewright.tasks.scores import Accuracy, Interval

from .report_fields import MEANINGS

SCHEMA_VERSION = 2
"""Version of the schema. Version 1 had a field for each score, and bits for a classifier's right answers."""

Status = Literal["ok", "failed", "built", "skipped"]
""""ok": measured. "failed": see `reason`. "built": the artifact exists, but cannot be measured on this machine.
"skipped": it could not change the choice, or the time limit was reached; see `reason`."""


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of the structs in this module: frozen, keyword-only, without absent fields in the file."""


class Ratio(Result, frozen=True, kw_only=True):
    """Speedup over the reference: the ratio of median latencies, with a 95% interval."""

    value: float
    low: float
    high: float


class Latency(Result, frozen=True, kw_only=True):
    """Latency from an image in memory to the answer, with preprocessing and postprocessing.

    - `scenario` "single_stream": one image after the other. "camera": `frames` images come at fixed times, `rate_hz`
      per second, and the device is idle between them. Latency then starts when the image arrives. `missed` counts
      images that had no answer when the next image came. They are answered later, or a newer image replaces them.
    - A percentile and its interval are absent if `samples` are too few for `confidence`.
    - `preprocess_p50_ms`, `runtime_p50_ms` and `postprocess_p50_ms` are the parts of the median call.
    - `rounds_p50_ms` has the median of each round. Artifacts of the same run are compared round by round (`faster`).
    - `launches` is the number of processes; `launch_spread` is the standard deviation between them, relative to the
      median.
    - `valid` False: the figures are unreliable, and `why` gives the reason.
    """

    samples: int
    scenario: Literal["single_stream", "camera"] = "single_stream"
    rate_hz: float | None = None
    frames: int | None = None
    missed: int | None = None
    p50_ms: float | None = None
    p90_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    p50_interval_ms: Interval | None = None
    p90_interval_ms: Interval | None = None
    p95_interval_ms: Interval | None = None
    p99_interval_ms: Interval | None = None
    confidence: float = 0.99
    mean_ms: float | None = None
    min_ms: float | None = None
    preprocess_p50_ms: float | None = None
    runtime_p50_ms: float | None = None
    postprocess_p50_ms: float | None = None
    throughput_per_s: float | None = None
    duration_s: float | None = None
    rounds: int | None = None
    launches: int | None = None
    launch_spread: float = 0.0
    warmup_samples: int | None = None
    power_w: float | None = None
    power_source: str | None = None
    steady: bool = True
    image: str | None = None
    quantiles_ms: tuple[float, ...] = ()
    rounds_p50_ms: tuple[float, ...] = ()
    valid: bool = True
    why: str | None = None


def faster(base: Latency, other: Latency, confidence: float = 0.95) -> Estimate | None:
    """Return how many times faster `other` is than `base`, by the rounds that both took part in; None with too few."""
    spread = math.hypot(base.launch_spread, other.launch_spread)
    return ratio_of_rounds(base.rounds_p50_ms, other.rounds_p50_ms, confidence, spread)


class Finding(Result, frozen=True, kw_only=True):
    """The result of a check of the data or of an artifact. `code` is its stable name (docs/reference/audit.md).

    "ok": the check passed. A variant with an "error" is not chosen. If the report itself has an "error", no variant is
    chosen. `count`: the number of images, boxes or files; `names`: the names of the first three.
    """

    level: Literal["ok", "note", "warning", "error"]
    code: str
    text: str
    count: int | None = None
    names: tuple[str, ...] = ()


class Term(Result, frozen=True, kw_only=True):
    """The check of one budget term: `value` against `limit`. `by` is the distance to the limit, negative if missed."""

    text: str
    metric: str
    status: Literal["met", "missed", "unknown"]
    value: float | None = None
    limit: float | None = None
    by: float | None = None
    unit: str = ""
    why: str | None = None


class Measurement(Result, frozen=True, kw_only=True):
    """The figures of one artifact, or the reason why there are none (`status`, `stage`, `reason`).

    `energy_mj` covers everything that `energy_source` measures, such as a module's input or the processor's package,
    including idle parts. `described` has the settings that the runtime reports as used. `float_layers`: the layers that
    mixed precision keeps in float, together with the other layers of their blocks.
    """

    id: str
    variant: str
    runtime: str
    precision: str
    scheme: str | None = None
    float_layers: tuple[str, ...] = ()
    options: dict[str, Any] = {}
    status: Status
    stage: str | None = None
    reason: str | None = None
    latency: Latency | None = None
    accuracy: Accuracy | None = None
    speedup: Ratio | None = None
    size_bytes: int | None = None
    peak_memory_bytes: int | None = None
    cold_start_ms: float | None = None
    camera: Latency | None = None
    energy_mj: float | None = None
    energy_source: str | None = None
    artifact: str | None = None
    described: dict[str, Any] = {}
    provenance: dict[str, Any] = {}
    findings: tuple[Finding, ...] = ()
    passed: tuple[Finding, ...] = ()
    budget: tuple[Term, ...] = ()


class Reference(Result, frozen=True, kw_only=True):
    """The full-precision model that all artifacts are compared with. `why`: why the CPU was used instead of a GPU."""

    runtime: str
    device: str
    precision: str
    status: Status = "ok"
    reason: str | None = None
    why: str | None = None
    latency: Latency | None = None
    accuracy: Accuracy | None = None
    size_bytes: int | None = None
    peak_memory_bytes: int | None = None
    cold_start_ms: float | None = None
    camera: Latency | None = None
    energy_mj: float | None = None
    energy_source: str | None = None


class Unproven(Result, frozen=True, kw_only=True):
    """A variant whose measured values are within the budget, but whose accuracy is inconclusive.

    `images`: the approximate number of images that a decision needs; None if the accuracy is too close to the limit.
    """

    id: str
    images: int | None = None


class Choice(Result, frozen=True, kw_only=True):
    """The artifact to ship, and the reason.

    `id` None: no artifact meets the budget. Then `nearest` is the artifact that comes closest, and `misses` has the
    terms that it misses. Without `nearest`, no artifact was measured, or the data or the reference has an error
    (`Report.errors`). `proven`: whether the accuracy of the chosen artifact is confirmed within the budget; None if the
    budget limits no score. `unproven`: the chosen artifact if it is not confirmed, and the fastest artifact that would
    be chosen if it were confirmed.
    """

    id: str | None = None
    why: str
    nearest: str | None = None
    misses: tuple[str, ...] = ()
    proven: bool | None = None
    unproven: tuple[Unproven, ...] = ()


class Loss(Result, frozen=True, kw_only=True):
    """The effect of quantizing a part of the model on its answers.

    `loss`: for class scores the Kullback-Leibler divergence in nats per image; for a detector the share of its boxes'
    scores. `sqnr_db`: signal-to-noise ratio of the outputs. `agreement`: of the top class.
    """

    loss: float
    sqnr_db: float
    agreement: float | None = None


class Part(Result, frozen=True, kw_only=True):
    """A layer or block: its loss if only it is in INT8 (`alone`), if all others are (`others`), and its time."""

    layers: tuple[str, ...]
    operators: tuple[str, ...] = ()
    alone: Loss
    others: Loss
    float_ms: float | None = None
    int8_ms: float | None = None

    @property
    def saved_ms(self) -> float | None:
        """How many ms faster it is in INT8. Negative if it is slower."""
        return None if self.float_ms is None or self.int8_ms is None else self.float_ms - self.int8_ms


class Sensitivity(Result, frozen=True, kw_only=True):
    """Blocks, and layers where asked for, of the INT8 artifact `id` against the float artifact `float_id`.

    On `images` calibration images; `whole`: all of it in INT8. Times are of the runtime's own profiler.
    """

    id: str
    float_id: str
    images: int
    whole: Loss
    blocks: tuple[Part, ...]
    layers: tuple[Part, ...] = ()


class ModelInfo(Result, frozen=True, kw_only=True):
    """The model that was optimized or measured."""

    name: str
    task: str = "classify"
    source: str
    digest: str | None = None
    parameters: int | None = None
    classes: int | None = None
    input_shape: tuple[int, ...] = ()


class TargetInfo(Result, frozen=True, kw_only=True):
    """The device that the artifacts are for. `measured` False: this machine differs from it, and `why` says how."""

    name: str
    title: str = ""
    measured: bool | None = None
    why: str | None = None


class CalibrationInfo(Result, frozen=True, kw_only=True):
    """The images that quantization was calibrated on. Accuracy is measured on other images."""

    images: int
    name: str | None = None
    split: str | None = None
    digest: str | None = None


class DataInfo(Result, frozen=True, kw_only=True):
    """The images that accuracy was measured on. `digest`: of their pixels. `truth`: of their labels and boxes."""

    name: str
    split: str | None = None
    images: int
    labelled: int | None = None
    classes: int | None = None
    digest: str | None = None
    truth: str | None = None
    calibration: CalibrationInfo | None = None


class Load(Result, frozen=True, kw_only=True):
    """Load and clocks of the machine while latency was measured. Percentages are shares of all cores.

    `frequency_median_mhz`: the clock of the fastest core at the end of each time slice. `gpu_cap_mhz`: the limit of the
    GPU's clock during the measurement. `gpu_wanted_mhz`: the limit in the power mode that the target names
    (`power_mode_wanted`). Temperatures are those of the hottest zone.
    """

    other_cpu_percent: float | None = None
    steal_percent: float | None = None
    throttled_ms: float | None = None
    frequency_start_mhz: float | None = None
    frequency_end_mhz: float | None = None
    load_average_start: float | None = None
    load_average_end: float | None = None
    frequency_median_mhz: float | None = None
    frequency_cap_mhz: float | None = None
    gpu_mhz: float | None = None
    gpu_cap_mhz: float | None = None
    gpu_wanted_mhz: float | None = None
    gpu_load_percent: float | None = None
    temperature_start_c: float | None = None
    temperature_end_c: float | None = None
    throttled_by: tuple[str, ...] = ()
    over_current_events: int | None = None
    power_mode: str | None = None
    power_mode_wanted: str | None = None


class Gpu(Result, frozen=True, kw_only=True):
    """An NVIDIA GPU, with the values that nvidia-smi prints."""

    name: str
    driver: str | None = None
    memory_bytes: int | None = None
    compute_capability: str | None = None


class Environment(Result, frozen=True, kw_only=True):
    """The machine and the software of the measurement. `cores`: the cores that the process may use.

    A Jetson has `board`, `release` (JetPack and L4T) and `power_mode`. `temperature_c`: that of the hottest zone.
    """

    cpu: str
    arch: str
    isa: tuple[str, ...] = ()
    cores: int | None = None
    physical_cores: int | None = None
    memory_bytes: int | None = None
    governor: str | None = None
    board: str | None = None
    release: str | None = None
    power_mode: str | None = None
    temperature_c: float | None = None
    container: str | None = None
    os: str | None = None
    python: str | None = None
    gpus: tuple[Gpu, ...] = ()
    libraries: dict[str, str] = {}
    load: Load | None = None


class StageTime(Result, frozen=True, kw_only=True):
    """A step of the run: its time when it ran, and whether its result came from the store."""

    stage: str
    seconds: float
    id: str | None = None
    key: str | None = None
    reused: bool = False


class Report(Result, frozen=True, kw_only=True):
    """The content of ``report.json``: reference, all measurements, verdicts and the choice.

    docs/reference/report-schema.md has the meaning of each field. `created` is ISO 8601 in UTC.
    """

    # a factory, because a plain default would be omitted from the file, and every file needs its version
    schema_version: int = msgspec.field(default_factory=lambda: SCHEMA_VERSION)
    created: str
    model: ModelInfo
    target: TargetInfo
    budget: str = ""
    environment: Environment
    data: DataInfo | None = None
    reference: Reference | None = None
    measurements: tuple[Measurement, ...] = ()
    choice: Choice | None = None
    provenance: dict[str, Any] = {}
    stages: tuple[StageTime, ...] = ()
    findings: tuple[Finding, ...] = ()
    passed: tuple[Finding, ...] = ()

    def measurement(self, id: str) -> Measurement:
        """The measurement with the given `id`. Raises KeyError if there is none."""
        for found in self.measurements:
            if found.id == id:
                return found
        raise KeyError(id)

    @property
    def chosen(self) -> Measurement | None:
        """The measurement of the chosen artifact, or None."""
        return self.measurement(self.choice.id) if self.choice and self.choice.id else None

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The errors in the data or the reference. If there are any, no accuracy in the report is valid."""
        return tuple(finding for finding in self.findings if finding.level == "error")


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of ``report.json``, generated from `Report`, with the meaning of each field."""
    generated = msgspec.json.schema(Report)
    for name, struct in generated["$defs"].items():
        for field, about in struct["properties"].items():
            about["description"] = MEANINGS[name][field]
    title = "edgewright report"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **generated}
