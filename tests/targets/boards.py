"""Recorded machines as file trees. Synthetic: none was copied from a device.

They are written here in the documented formats: the kernel's (device tree binding ``arm/tegra.yaml``, hwmon
``ina3221``, devfreq, thermal, powercap), Debian's (dpkg status) and those of NVIDIA's Jetson Linux Developer Guide
(nv_tegra_release, nvpmodel.conf, soctherm).
"""

from __future__ import annotations

from pathlib import Path

A78_FEATURES = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp uscat"
)
CARMEL_FEATURES = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm dcpop"
V3AE_FEATURES = f"{A78_FEATURES} sve i8mm bf16"


def write(root: Path, name: str, content: str | float) -> None:
    """One file of the tree; a number gets the kernel's newline."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content if isinstance(content, str) else f"{content}\n")


def cpus(root: Path, features: str, count: int) -> None:
    block = "processor\t: {}\nBogoMIPS\t: 62.50\nFeatures\t: {}\nCPU implementer\t: 0x41\nCPU part\t: 0xd42\n"
    write(root, "proc/cpuinfo", "\n".join(block.format(index, features) for index in range(count)) + "\n")


def package(name: str, version: str) -> str:
    return f"Package: {name}\nStatus: install ok installed\nArchitecture: arm64\nVersion: {version}\n"


def modes(
    root: Path, names: dict[str, int], active: int | None, default: int = 0, caps: dict[str, int] | None = None
) -> None:
    """nvpmodel's configuration (`caps`: GPU MAX_FREQ in MHz of a mode) and, where a mode was chosen, its status."""
    lines = ["# < POWER_MODEL ID=9 NAME=COMMENT >"]
    for name, id in names.items():
        frequency = caps[name] * 1_000_000 if caps and name in caps else -1
        lines += [f"< POWER_MODEL ID={id} NAME={name} >", "CPU_ONLINE CORE_0 1", f"GPU MAX_FREQ {frequency}", ""]
    write(root, "etc/nvpmodel.conf", "\n".join([*lines, f"< PM_CONFIG DEFAULT={default} >", ""]))
    if active is not None:
        write(root, "var/lib/nvpmodel/status", f"pmode:{active:04} fmode:quiet\n")


def ina3221(root: Path, hwmon: int, rails: dict[str, tuple[int, int]]) -> None:
    """hwmon's layout (JetPack 5 on): rails of (millivolt, milliampere)."""
    at = f"sys/class/hwmon/hwmon{hwmon}"
    write(root, f"{at}/name", "ina3221\n")
    for channel, (label, (mv, ma)) in enumerate(rails.items(), 1):
        write(root, f"{at}/in{channel}_label", f"{label}\n")
        write(root, f"{at}/in{channel}_input", mv)
        write(root, f"{at}/curr{channel}_input", ma)
        write(root, f"{at}/in{channel + 3}_input", 1)  # the shunt's voltage, which is not the rail's


def clocks(root: Path, gpu: str, cur: int, cap: int, load: int, at: str = "sys/devices/platform/bus@0") -> None:
    """devfreq of the GPU in MHz, its load in tenths of a percent, and two CPU policies."""
    for place in (f"sys/class/devfreq/{gpu}", f"{at}/{gpu}/devfreq/{gpu}"):
        write(root, f"{place}/cur_freq", cur * 1_000_000)
        write(root, f"{place}/max_freq", cap * 1_000_000)
        write(root, f"{place}/min_freq", 306_000_000)
    write(root, f"sys/class/devfreq/{gpu}/device/load", load)
    write(root, "sys/class/devfreq/15340000.vic/cur_freq", 115_200_000)
    for core, mhz in enumerate((1190, 1497)):
        place = f"sys/devices/system/cpu/cpu{core}/cpufreq"
        write(root, f"{place}/scaling_cur_freq", mhz * 1000)
        write(root, f"{place}/scaling_max_freq", 1_497_600)
        write(root, f"{place}/cpuinfo_max_freq", 1_728_000)
        write(root, f"{place}/scaling_governor", "schedutil\n")
        write(root, f"{place}/scaling_driver", "tegra194\n")


def orin_nano(root: Path) -> Path:
    """Orin Nano developer kit, JetPack 6.2.1, in its 15 W mode. Synthetic."""
    cpus(root, A78_FEATURES, 6)
    write(
        root, "proc/meminfo", "MemTotal:        7802656 kB\nMemAvailable:    5904000 kB\nSwapTotal:       3901312 kB\n"
    )
    write(root, "proc/device-tree/model", "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0")
    write(
        root, "proc/device-tree/compatible", "nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234\0"
    )
    write(
        root, "etc/nv_tegra_release",
        "# R36 (release), REVISION: 4.4, GCID: 41062509, BOARD: generic, EABI: aarch64, DATE: Mon Jun 16 2025\n"
        "# KERNEL_VARIANT: oot\nTARGET_USERSPACE_LIB_DIR=nvidia\n",
    )  # fmt: skip
    write(root, "etc/os-release", 'NAME="Ubuntu"\nVERSION_ID="22.04"\n')
    found = {
        "nvidia-l4t-core": "36.4.4-20250616085344", "nvidia-jetpack": "6.2.1+b38",
        "libnvinfer10": "10.3.0.30-1+cuda12.5",
        "libnvinfer-bin": "10.3.0.30-1+cuda12.5", "python3-libnvinfer": "10.3.0.30-1+cuda12.5",
        "cuda-cudart-12-6": "12.6.68-1", "zlib1g": "1.2",
    }  # fmt: skip
    removed = package("libnvinfer8", "8.6.2").replace("install ok installed", "deinstall ok config-files")
    write(root, "var/lib/dpkg/status", "\n".join([*(package(*item) for item in found.items()), removed]))
    modes(
        root,
        {"15W": 0, "25W": 1, "MAXN_SUPER": 2, "7W": 3},
        active=0,
        default=1,
        caps={"15W": 612, "25W": 918, "7W": 408},
    )
    ina3221(root, 1, {"VDD_IN": (5000, 1200), "VDD_CPU_GPU_CV": (5000, 400), "VDD_SOC": (5000, 300)})
    clocks(root, "17000000.gpu", cur=612, cap=612, load=850)
    for zone, (kind, value) in enumerate({"cpu-thermal": 51250, "gpu-thermal": 52000, "cv0-thermal": -256000}.items()):
        write(root, f"sys/class/thermal/thermal_zone{zone}/type", f"{kind}\n")
        write(root, f"sys/class/thermal/thermal_zone{zone}/temp", value)
    for number, (kind, state) in enumerate({"pwm-fan": 2, "cpu-throttle-alert": 0, "gpu-throttle-alert": 0}.items()):
        write(root, f"sys/class/thermal/cooling_device{number}/type", f"{kind}\n")
        write(root, f"sys/class/thermal/cooling_device{number}/cur_state", state)
    for event in (1, 2, 3):
        write(root, f"sys/class/hwmon/hwmon2/oc{event}_event_cnt", 0)
    write(root, "sys/class/hwmon/hwmon2/name", "soctherm_oc\n")
    return root


def agx_orin(root: Path) -> Path:
    """AGX Orin developer kit with 64 GB, JetPack 5.1.2, MAXN, without the JetPack package. Synthetic."""
    cpus(root, A78_FEATURES, 12)
    write(root, "proc/meminfo", "MemTotal:       64349176 kB\n")
    write(root, "proc/device-tree/model", "Jetson AGX Orin Developer Kit\0")
    write(root, "proc/device-tree/compatible", "nvidia,p3737-0000+p3701-0005\0nvidia,tegra234\0nvidia,tegra23x\0")
    write(
        root, "etc/nv_tegra_release", "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64\n"
    )
    modes(root, {"MAXN": 0, "MODE_15W": 1, "MODE_30W": 2, "MODE_50W": 3}, active=0, default=2)
    ina3221(root, 3, {"VDD_GPU_SOC": (19000, 400), "VDD_CPU_CV": (19000, 100), "VIN_SYS_5V0": (5000, 800)})
    ina3221(root, 4, {"NC": (5000, 1), "VDDQ_VDD2_1V8AO": (19000, 50)})
    clocks(root, "17000000.ga10b", cur=1301, cap=1301, load=990, at="sys/devices")
    return root


def thor(root: Path) -> Path:
    """AGX Thor developer kit, JetPack 7.0; its GPU is a PCIe device with a devfreq of its own name. Synthetic."""
    cpus(root, V3AE_FEATURES, 14)
    write(root, "proc/meminfo", "MemTotal:      128838644 kB\n")
    write(root, "proc/device-tree/model", "NVIDIA Jetson AGX Thor Developer Kit\0")
    write(root, "proc/device-tree/compatible", "nvidia,p4071-0000+p3834-0008\0nvidia,p3834-0008\0nvidia,tegra264\0")
    write(
        root, "etc/nv_tegra_release", "# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64\n"
    )
    modes(root, {"MAXN": 0, "120W": 1}, active=None, default=1)
    clocks(root, "gpu-gpc-0", cur=1200, cap=1575, load=0)
    (root / "sys/class/devfreq/gpu-gpc-0/device/load").unlink()
    write(root, "sys/class/hwmon/hwmon5/name", "ina238\n")
    ina3221(root, 4, {"VDD_GPU": (12000, 900), "VDD_CPU_SOC_MSS": (12000, 800), "VIN_SYS_5V0": (5000, 900)})
    write(root, "sys/class/hwmon/hwmon5/power1_input", 41_500_000)
    return root


def xavier_nx(root: Path) -> Path:
    """Xavier NX with 16 GB, JetPack 5; power modes by watts and cores, the old iio layout of the rails. Synthetic."""
    cpus(root, CARMEL_FEATURES, 6)
    write(root, "proc/meminfo", "MemTotal:       15828096 kB\n")
    write(root, "proc/device-tree/model", "NVIDIA Jetson Xavier NX Developer Kit\0")
    write(
        root,
        "proc/device-tree/compatible",
        "nvidia,p3449-0000+p3668-0003\0nvidia,p3509-0000+p3668-0003\0nvidia,tegra194\0",
    )
    write(
        root, "etc/nv_tegra_release", "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64\n"
    )
    names = ["15W_2CORE", "15W_4CORE", "15W_6CORE", "10W_2CORE", "10W_4CORE", "10W_DESKTOP", "20W_2CORE", "20W_4CORE",
             "20W_6CORE"]  # fmt: skip
    modes(root, {f"MODE_{name}": id for id, name in enumerate(names)}, active=2)
    at = "sys/bus/i2c/drivers/ina3221x/7-0040/iio:device0"
    for channel, (label, milliwatt) in enumerate({"VDD_IN": 6400, "VDD_CPU_GPU_CV": 1900, "VDD_SOC": 1500}.items()):
        write(root, f"{at}/rail_name_{channel}", f"{label}\n")
        write(root, f"{at}/in_power{channel}_input", milliwatt)
    clocks(root, "17000000.gv11b", cur=803, cap=1109, load=400)
    return root


def future(root: Path) -> Path:
    """A board and a release of Jetson Linux that this version knows nothing of. Synthetic."""
    cpus(root, V3AE_FEATURES, 16)
    write(root, "proc/meminfo", "MemTotal:       32000000 kB\n")
    write(root, "proc/device-tree/model", "NVIDIA Jetson Next Developer Kit\0")
    write(root, "proc/device-tree/compatible", "nvidia,p9000-0000+p9001-0000\0nvidia,tegra999\0")
    write(root, "etc/nv_tegra_release", "# R44 (release), REVISION: 1.2, GCID: 1, BOARD: generic, EABI: aarch64\n")
    return root


def container(root: Path) -> Path:
    """A container on an Orin NX: no device tree, no release file; its kernel and packages tell. Synthetic."""
    cpus(root, A78_FEATURES, 8)
    write(root, "proc/meminfo", "MemTotal:       16000000 kB\n")
    write(root, "proc/sys/kernel/osrelease", "5.15.148-tegra\n")
    write(root, "var/lib/dpkg/status", package("nvidia-l4t-core", "36.4.3-20250107174145"))
    return root


def masked(root: Path) -> Path:
    """Docker on an Orin NX with 16 GB: /sys/firmware is masked, and with it the device tree; soc0 tells. Synthetic."""
    container(root)
    for name, value in (("family", "Tegra"), ("soc_id", "35"), ("machine", "NVIDIA Jetson Orin NX Developer Kit")):
        write(root, f"sys/devices/soc0/{name}", f"{value}\n")
    return root


def rapl(root: Path, packages: dict[int, int], range_uj: int = 262_143_328_850) -> None:
    """x86 with RAPL (powercap): the packages' counters in microjoule; the core domain is inside its package."""
    for package, energy in packages.items():
        for at, name, value in (
            (f"intel-rapl:{package}", f"package-{package}", energy), (f"intel-rapl:{package}:0", "core", energy // 2),
        ):  # fmt: skip
            write(root, f"sys/class/powercap/{at}/name", f"{name}\n")
            write(root, f"sys/class/powercap/{at}/energy_uj", value)
            write(root, f"sys/class/powercap/{at}/max_energy_range_uj", range_uj)
