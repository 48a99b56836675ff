"""What an Ultralytics user does: export float and INT8 for OpenVINO, and validate both. Run: FOLDER SCENES WEIGHTS."""

from __future__ import annotations

import sys
from pathlib import Path

from safetensors.torch import load_file
from ultralytics import YOLO


def main(folder: Path, data: Path, weights: Path) -> None:
    """`data`: a data.yaml whose train images calibrate and whose val images validate."""
    import json

    model = YOLO(folder / "yolo11n.yaml")
    model.model.load_state_dict(load_file(weights), strict=False)
    found = {}
    for name, more in (("float", {}), ("int8", {"int8": True})):
        path = model.export(format="openvino", imgsz=160, data=str(data), verbose=False, **more)
        kept = Path(path).rename(folder / f"{name}_openvino_model")
        scores = YOLO(kept, task="detect").val(data=str(data), imgsz=160, batch=1, plots=False, verbose=False)
        found[name] = {"path": str(kept), "map": 100 * float(scores.box.map), "ms": scores.speed}
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
