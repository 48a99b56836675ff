"""edgewright turns a trained vision model into the fastest bundle for a device within an accuracy budget.

On a device, with numpy, Pillow, msgspec and one runtime::

    import edgewright

    with edgewright.open("resnet18.edge") as session:
        print(session("photo.jpg").label)

On the machine that builds::

    import edgewright

    outcome = edgewright.optimize("timm:resnet18", data="photos/", out="out/", budget="top1 >= -1.0")
    outcome.best.save("resnet18.edge")

Names are imported on first use, so ``import edgewright`` is fast and needs none of the optional libraries.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

# Not from typing: `python -m edgewright` imports this file while the working directory is still first in `sys.path`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from edgewright.api import optimize as optimize
    from edgewright.core.errors import EdgewrightError as EdgewrightError
    from edgewright.core.spec import ModelSpec as ModelSpec
    from edgewright.runtimes.session import Session as Session
    from edgewright.runtimes.session import open as open

_HOMES = {
    "open": "edgewright.runtimes.session",
    "Session": "edgewright.runtimes.session",
    "optimize": "edgewright.api",
    "EdgewrightError": "edgewright.core.errors",
    "ModelSpec": "edgewright.core.spec",
}
__all__ = ["EdgewrightError", "ModelSpec", "Session", "open", "optimize"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgewright' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
