"""Sensors on recorded file trees, all synthetic (see `boards`): no file here was copied from a device."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import boards
import pytest

from edgewright.targets import sensors
from edgewright.targets.sensors import Meter


def test_clocks_of_an_orin_nano(tmp_path: Path) -> None:
    boards.orin_nano(tmp_path)
    assert sensors.cpu_mhz(tmp_path) == 1497.0
    assert sensors.cpu_cap_mhz(tmp_path) == 1497.6
    assert sensors.governor(tmp_path) == "schedutil"
    assert sensors.gpu_clock(tmp_path) == (612.0, 612.0, 85.0)


def test_the_gpu_has_other_names_on_other_chips(tmp_path: Path) -> None:
    assert sensors.gpu_clock(boards.xavier_nx(tmp_path / "xavier")) == (803.0, 1109.0, 40.0)
    assert sensors.gpu_clock(boards.agx_orin(tmp_path / "orin")) == (1301.0, 1301.0, 99.0)
    assert sensors.gpu_clock(boards.thor(tmp_path / "thor")) == (1200.0, 1575.0, None), "its driver tells no load"


def test_turbo_is_not_promised_on_x86(tmp_path: Path) -> None:
    at = "sys/devices/system/cpu/cpu0/cpufreq"
    for name, value in {"scaling_cur_freq": 3_900_000, "scaling_max_freq": 4_700_000}.items():
        boards.write(tmp_path, f"{at}/{name}", value)
    boards.write(tmp_path, f"{at}/scaling_driver", "acpi-cpufreq\n")
    assert sensors.cpu_cap_mhz(tmp_path) is None
    boards.write(tmp_path, f"{at}/scaling_driver", "intel_pstate\n")
    boards.write(tmp_path, f"{at}/base_frequency", 2_100_000)
    assert sensors.cpu_cap_mhz(tmp_path) == 2100.0


def test_temperatures_leave_out_zones_that_are_off(tmp_path: Path) -> None:
    assert sensors.temperatures(boards.orin_nano(tmp_path)) == {"cpu-thermal": 51.25, "gpu-thermal": 52.0}


def test_throttling_is_told_by_name_and_a_fan_is_none(tmp_path: Path) -> None:
    boards.orin_nano(tmp_path)
    assert sensors.throttling(tmp_path) == ()
    assert sensors.over_current_events(tmp_path) == 0
    boards.write(tmp_path, "sys/class/thermal/cooling_device2/cur_state", 1)
    boards.write(tmp_path, "sys/class/hwmon/hwmon2/oc3_event_cnt", 7)
    assert sensors.throttling(tmp_path) == ("gpu-throttle-alert",)
    assert sensors.over_current_events(tmp_path) == 7


def test_throttled_time_on_x86(tmp_path: Path) -> None:
    for core, ms in enumerate((12, 30)):
        at = f"sys/devices/system/cpu/cpu{core}/thermal_throttle"
        boards.write(tmp_path, f"{at}/core_throttle_total_time_ms", ms)
        boards.write(tmp_path, f"{at}/core_throttle_count", 99)
    assert sensors.throttled_ms(tmp_path) == 42


def test_what_is_missing_is_absent_and_not_zero(tmp_path: Path) -> None:
    assert sensors.cpu_mhz(tmp_path) is None
    assert sensors.cpu_cap_mhz(tmp_path) is None
    assert sensors.governor(tmp_path) is None
    assert sensors.gpu_clock(tmp_path) is None
    assert sensors.temperatures(tmp_path) == {}
    assert sensors.throttled_ms(tmp_path) is None
    assert sensors.over_current_events(tmp_path) is None
    assert sensors.rails(tmp_path) == ()
    assert sensors.counters(tmp_path) == ()
    with Meter(tmp_path) as meter:
        pass
    assert (meter.source, meter.watts, meter.gpu) == (None, None, None)


@pytest.mark.parametrize(
    ("build", "source", "watts"),
    [
        (boards.orin_nano, "VDD_IN", 6.0),
        # 19 V x 400 mA + 19 V x 100 mA + 5 V x 800 mA; VDDQ_VDD2_1V8AO hangs on VIN_SYS_5V0.
        (boards.agx_orin, "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0", 13.5),
        (boards.thor, "VIN", 41.5),
        (boards.xavier_nx, "VDD_IN", 6.4),  # the old iio layout
    ],
)
def test_power_of_the_whole_module(build, source, watts, tmp_path: Path) -> None:
    with Meter(build(tmp_path)) as meter:
        pass
    assert meter.source == source
    assert meter.watts == pytest.approx(watts)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The meter's time, set by hand (`now`, in seconds)."""
    fake = SimpleNamespace(now=0.0)
    monkeypatch.setattr(sensors, "time", SimpleNamespace(monotonic=lambda: fake.now))
    return fake


def test_a_rail_is_integrated_over_all_spans(tmp_path: Path, clock: SimpleNamespace) -> None:
    boards.orin_nano(tmp_path)
    current = tmp_path / "sys/class/hwmon/hwmon1/curr1_input"
    meter = Meter(tmp_path, interval_s=60)
    with meter:
        clock.now = 2.0
        current.write_text("3600\n")  # from 6 to 18 W: 12 W over two seconds
    assert meter.watts == pytest.approx(12)
    clock.now = 50.0  # what lies between spans does not count
    with meter:
        clock.now = 51.0  # 18 W over one
    assert meter.watts == pytest.approx((2 * 12 + 18) / 3)


def test_a_rail_that_falls_silent_leaves_no_figure(tmp_path: Path, clock: SimpleNamespace) -> None:
    boards.orin_nano(tmp_path)
    with Meter(tmp_path, interval_s=60) as meter:
        clock.now = 1.0
        (tmp_path / "sys/class/hwmon/hwmon1/curr1_input").unlink()
    assert meter.watts is None


def test_the_gpu_is_watched_while_it_works(tmp_path: Path) -> None:
    boards.clocks(tmp_path, "17000000.gpu", cur=306, cap=1020, load=700)
    deadline = time.monotonic() + 10
    with Meter(tmp_path, interval_s=0.001) as meter:
        while meter.gpu is None and time.monotonic() < deadline:
            time.sleep(0.001)
    assert meter.watts is None
    assert meter.gpu == (306.0, 1020.0, 70.0)


def test_rapl_counts_packages_once_and_over_a_wrap(tmp_path: Path, clock: SimpleNamespace) -> None:
    boards.rapl(tmp_path, {0: 262_143_000_000, 1: 5_000_000}, range_uj=262_143_328_850)
    with Meter(tmp_path) as meter:
        clock.now = 4.0
        boards.rapl(tmp_path, {0: 671_150, 1: 6_000_000}, range_uj=262_143_328_850)
    assert meter.watts == pytest.approx((1.0 + 1.0) / 4)
    assert meter.source == "RAPL package-0 + package-1"


def test_a_span_that_failed_does_not_count(tmp_path: Path) -> None:
    meter = Meter(boards.orin_nano(tmp_path))
    with pytest.raises(RuntimeError), meter:
        raise RuntimeError
    assert meter.watts is None
