"""Clocks, temperatures, throttling, power and energy of the machine, from the kernel's files.

Everything is read below a root, so tests can use a recorded machine. A sensor is None (or absent from a mapping), never
zero, if it is missing, if a container hides it, or if only the administrator can read it.

Sources: the kernel's documentation of cpufreq, devfreq, thermal, powercap (RAPL) and hwmon (ina3221, ina238), and
NVIDIA's Jetson Linux Developer Guide, "Platform Power and Performance" (rails, over-current events, GPU load). Tests
read generated file trees. The figures were not compared with a power meter on a Jetson yet.
"""

from __future__ import annotations

import re
import statistics
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from .files import number, text

ROOT = Path("/")
CPUS = "sys/devices/system/cpu"

GPU_DEVFREQ = re.compile(r"\d+\.(gpu|ga10b|gv11b|gp10b|gm20b)|gpu-gpc-\d+")
"""Names of the GPU in devfreq: Orin, Xavier, TX2 and Nano by chip, and Thor's graphics clusters."""

TOTAL_RAILS = ("VDD_IN", "POM_5V_IN", "VIN")
"""Rails that supply a complete module or board. The other rails are then parts of it."""
PARTIAL_RAILS = ("VDDQ_VDD2_1V8AO",)
"""Rails that another measured rail supplies (AGX Orin: VIN_SYS_5V0)."""

INTERVAL_S = 0.1
"""Seconds between two readings of a rail. Ten readings per second cost a few percent of one core on a Jetson (i2c)."""


class GpuClock(NamedTuple):
    """The GPU: its current clock, the limit of the power mode, and the share of busy time in percent."""

    mhz: float
    cap_mhz: float | None
    load_percent: float | None


def cpu_mhz(root: Path = ROOT) -> float | None:
    """Return the current clock of the fastest core in MHz; None if not known."""
    return _highest_mhz(root, "scaling_cur_freq")


def cpu_cap_mhz(root: Path = ROOT) -> float | None:
    """Return the clock in MHz that a busy core should reach, or None if no clock is guaranteed.

    This is the base frequency if the driver reports it (intel_pstate). Turbo above it depends on temperature and on the
    number of busy cores. Other x86 drivers do not separate turbo from the base frequency. On Arm it is the current
    limit.
    """
    base = _highest_mhz(root, "base_frequency")
    driver = text(root / CPUS / "cpu0/cpufreq/scaling_driver") or ""
    if base or driver.startswith(("intel", "acpi", "amd", "pcc", "powernow")):
        return base
    return _highest_mhz(root, "scaling_max_freq")


def governor(root: Path = ROOT) -> str | None:
    """Return the frequency governor of the first core; None if not known."""
    return text(root / CPUS / "cpu0/cpufreq/scaling_governor") or None


def gpu_clock(root: Path = ROOT) -> GpuClock | None:
    """Return the clock and load of a Jetson's GPU; None on other machines. The driver gives the load in 0.1%."""
    place = _gpu_devfreq(root)
    mhz = _mhz(place / "cur_freq") if place else None
    if place is None or mhz is None:
        return None
    loads = (number(path) for path in (place / "device/load", root / "sys/devices/platform/gpu.0/load"))
    load = next((value / 10 for value in loads if value is not None), None)
    return GpuClock(mhz, _mhz(place / "max_freq"), load)


def gpu_is_held(root: Path = ROOT) -> bool | None:
    """Whether a Jetson's GPU clock is fixed at its limit, as ``jetson_clocks`` does; None on other machines."""
    place = _gpu_devfreq(root)
    low, high = (_mhz(place / name) if place else None for name in ("min_freq", "max_freq"))
    return None if low is None or high is None else low >= high


def temperatures(root: Path = ROOT) -> dict[str, float]:
    """Return degrees Celsius by thermal zone. A zone that is off cannot be read or gives -256; it is left out."""
    found = {}
    for place in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        kind, milli = text(place / "type"), number(place / "temp")
        if kind and milli is not None and -40_000 < milli < 200_000:
            found[kind] = milli / 1000
    return found


def throttled_ms(root: Path = ROOT) -> float | None:
    """Return the sum of milliseconds since boot in which heat or power throttled x86 cores and packages."""
    paths = (root / CPUS).glob("cpu[0-9]*/thermal_throttle/*_throttle_total_time_ms")
    times = [value for path in paths if (value := number(path)) is not None]
    return sum(times) if times else None


def over_current_events(root: Path = ROOT) -> int | None:
    """Return how often since boot a Jetson reduced its clocks because of over-current or under-voltage (soctherm)."""
    counts = [number(path) for path in (root / "sys/class/hwmon").glob("hwmon*/oc*_event_cnt")]
    found = [int(count) for count in counts if count is not None]
    return sum(found) if found else None


def throttling(root: Path = ROOT) -> tuple[str, ...]:
    """Return the names of cooling devices that reduce clocks now; fans are ignored."""
    found = []
    for place in sorted((root / "sys/class/thermal").glob("cooling_device*")):
        kind = text(place / "type") or ""
        slows = kind.startswith(("cpufreq", "devfreq", "Processor")) or "throttle" in kind
        if slows and (number(place / "cur_state") or 0) > 0:
            found.append(kind)
    return tuple(dict.fromkeys(found))


class Rail(NamedTuple):
    """A measured supply. Its power in watts is the product of the values in `parts` (files) and `scale`."""

    name: str
    parts: tuple[Path, ...]
    scale: float

    def watts(self) -> float | None:
        """Return the current power in watts; None if a file cannot be read."""
        product = self.scale
        for part in self.parts:
            value = number(part)
            if value is None:
                return None
            product *= value
        return product


def rails(root: Path = ROOT) -> tuple[Rail, ...]:
    """Return the measured power rails: INA3221 and INA238 chips in hwmon, or the iio layout before JetPack 5.

    In hwmon, an INA3221 gives millivolts and milliamperes (channels 1 to 3; 4 to 6 are its shunts). An INA238 gives
    microwatts. A channel that is not connected has the name NC.
    """
    found = []
    for place in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        chip = text(place / "name") or ""
        if chip == "ina3221":
            for channel in (1, 2, 3):
                parts = (place / f"in{channel}_input", place / f"curr{channel}_input")
                found.append(Rail(text(place / f"in{channel}_label") or "", parts, 1e-6))
        elif chip.startswith("ina2"):
            # Thor's INA238 is at the board's input and has no label. The rail of other chips is not known.
            name = text(place / "in1_label") or ("VIN" if chip == "ina238" else chip)
            found.append(Rail(name, (place / "power1_input",), 1e-6))
    for place in sorted((root / "sys/bus/i2c/drivers/ina3221x").glob("*/iio:device*")):
        for channel in (0, 1, 2):
            name = text(place / f"rail_name_{channel}") or ""
            found.append(Rail(name, (place / f"in_power{channel}_input",), 1e-3))
    return tuple(rail for rail in found if rail.name not in ("", "NC") and rail.watts() is not None)


def total(found: tuple[Rail, ...]) -> tuple[Rail, ...]:
    """Return the rails whose sum is the power of the module: the input rail, or all rails that are not parts."""
    for name in TOTAL_RAILS:
        for rail in found:
            if rail.name == name:
                return (rail,)
    return tuple(rail for rail in found if rail.name not in PARTIAL_RAILS)


class Counter(NamedTuple):
    """An energy counter of RAPL in microjoules. It restarts from zero above `range_uj`."""

    name: str
    path: Path
    range_uj: float

    def joules(self, before: float, after: float) -> float:
        """Return the energy in joules between two readings in microjoules, with at most one restart between them."""
        used = after - before
        return (used if used >= 0 else used + self.range_uj) / 1e6


def counters(root: Path = ROOT) -> tuple[Counter, ...]:
    """Return RAPL's counters of packages. Since Linux 5.10, only the administrator can read them; otherwise empty."""
    found = []
    for place in sorted((root / "sys/class/powercap").glob("intel-rapl:*")):
        name, energy = text(place / "name") or "", number(place / "energy_uj")
        range_uj = number(place / "max_energy_range_uj")
        if name.startswith("package") and energy is not None and range_uj:
            found.append(Counter(name, place / "energy_uj", range_uj))
    return tuple(found)


class Meter:
    """Measures the mean power over one or more time spans: ``with meter: work()``.

    Counters are read before and after a span. Rails have no counter. A thread reads them and the GPU clock ten times
    per second and at both ends of the span. The power is integrated by the trapezoidal rule. The chip itself averages
    over a few milliseconds. Without rails and counters, a span costs nothing and `watts` is None.
    """

    def __init__(self, root: Path = ROOT, interval_s: float = INTERVAL_S) -> None:
        self._root, self._interval_s = root, interval_s
        self._rails = total(rails(root))
        self._counters = () if self._rails else counters(root)
        self._has_gpu = _gpu_devfreq(root) is not None
        self._joules, self._seconds = 0.0, 0.0
        self._gpu: list[GpuClock] = []
        self._trace: list[tuple[float, float]] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def source(self) -> str | None:
        """The measured source: a rail, a sum of rails, or RAPL's packages; None without a sensor."""
        if self._rails:
            return " + ".join(rail.name for rail in self._rails)
        return f"RAPL {' + '.join(counter.name for counter in self._counters)}" if self._counters else None

    @property
    def watts(self) -> float | None:
        """Mean power in watts over all spans so far; None before the first span."""
        return self._joules / self._seconds if self._seconds > 0 else None

    @property
    def gpu(self) -> GpuClock | None:
        """The GPU during the spans: median clock and load, and the last limit."""
        if not self._gpu:
            return None
        loads = [clock.load_percent for clock in self._gpu if clock.load_percent is not None]
        mhz = statistics.median(clock.mhz for clock in self._gpu)
        return GpuClock(mhz, self._gpu[-1].cap_mhz, statistics.median(loads) if loads else None)

    def __enter__(self) -> Meter:
        self._trace, self._thread = [], None
        self._stop.clear()
        self._before = [number(counter.path) for counter in self._counters]
        self._began = time.monotonic()
        if self._rails or self._has_gpu:
            self._read_rails()
            self._thread = threading.Thread(target=self._watch, name="power meter", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.monotonic() - self._began
        after = [number(counter.path) for counter in self._counters]
        if self._thread:
            self._stop.set()
            self._thread.join()
            self._read_rails()
        if error is not None:
            return
        if self._counters:
            self._count(after, seconds)
        elif len(self._trace) > 1:
            self._seconds += self._trace[-1][0] - self._trace[0][0]
            self._joules += sum((t1 - t0) * (w0 + w1) / 2 for (t0, w0), (t1, w1) in zip(self._trace, self._trace[1:]))

    def _count(self, after: list[float | None], seconds: float) -> None:
        used = [
            counter.joules(first, last)
            for counter, first, last in zip(self._counters, self._before, after)
            if first is not None and last is not None
        ]
        if len(used) == len(self._counters):  # without one package, the sum would be too small
            self._joules += sum(used)
            self._seconds += seconds

    def _watch(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._read_rails()
            if self._has_gpu and (clock := gpu_clock(self._root)):
                self._gpu.append(clock)

    def _read_rails(self) -> None:
        powers = [rail.watts() for rail in self._rails]
        known = [power for power in powers if power is not None]
        if known and len(known) == len(powers):
            self._trace.append((time.monotonic(), sum(known)))


def _gpu_devfreq(root: Path) -> Path | None:
    places = sorted((root / "sys/class/devfreq").glob("*"))
    return next((place for place in places if GPU_DEVFREQ.fullmatch(place.name)), None)


def _highest_mhz(root: Path, name: str) -> float | None:
    khz = [value for path in (root / CPUS).glob(f"cpu[0-9]*/cpufreq/{name}") if (value := number(path)) is not None]
    return round(max(khz) / 1000, 1) if khz else None


def _mhz(path: Path) -> float | None:
    hertz = number(path)
    return None if hertz is None else round(hertz / 1e6, 1)
