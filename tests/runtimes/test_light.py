"""A device needs numpy, Pillow, msgspec and one runtime: nothing else is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HEAVY = (
    "torch",
    "onnx",
    "openvino",
    "onnxruntime",
    "timm",
    "nncf",
    "scipy",
    "filelock",
    "platformdirs",
    "rich",
    "typer",
)


def imported_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    return {name.partition(".")[0] for name in out.split()}


def test_no_module_of_the_device_side_imports_a_heavy_library() -> None:
    code = "\n".join(
        f"import edgewright.{room}.{module}"
        for room, modules in {
            "runtimes": ("torch", "onnxruntime", "openvino", "session", "bundle", "artifact", "registry", "options"),
            "targets": ("target", "describe", "detect", "jetson", "nvidia", "sensors", "checkup", "remote", "job"),
            "bench": ("device", "worker", "latency", "environment"),
        }.items()
        for module in modules
    )
    assert imported_by(code) & set(HEAVY) == set()


def test_a_session_imports_its_own_runtime_only(edge: Path) -> None:
    seen = imported_by(f"import edgewright\nedgewright.open({str(edge)!r})")
    assert "onnxruntime" in seen
    assert seen & (set(HEAVY) - {"onnxruntime"}) == set()
