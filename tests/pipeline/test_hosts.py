"""A device as a place to measure: what it answers is checked before it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgewright.bench import environment
from edgewright.bench.latency import Rules
from edgewright.core.errors import IntegrityError
from edgewright.core.spec import Input, ModelSpec, Preprocess, encode
from edgewright.pipeline import hosts
from edgewright.pipeline.recipe import Recipe
from edgewright.runtimes import artifact
from edgewright.runtimes.options import Options
from edgewright.targets import detect
from edgewright.targets.job import JobRequest
from edgewright.targets.remote import Remote
from edgewright.tasks.classify.spec import Classify

SPEC = ModelSpec(
    name="m", inputs=(Input(height=8, width=8, preprocess=Preprocess(resize="none")),), task=Classify(classes=3)
)
ABOUT = msgspec.to_builtins(
    {"unit": "", "environment": environment.describe(), "machine": detect.this_machine(), "runtimes": {}}
)


class Lying(Remote):
    """A device that is reached, and whose jobs return `value` and leave `files`."""

    def __init__(self, value: Any, **files: bytes) -> None:
        self.value, self.files, self.interpreter = value, files, "python3"

    def push_files(self, paths: Any, progress: Any = None) -> list[str]:
        return list(paths)

    def push_folders(self, folders: Any, progress: Any = None) -> list[str]:
        return list(map(str, folders))

    def run(self, asked: JobRequest, out: Path, **more: Any) -> Any:
        if asked.target.endswith(":about"):
            return ABOUT
        for name, content in self.files.items():
            (out / name.replace("_", ".")).write_bytes(content)
        return self.value


def test_a_place_believes_none_of_it(tmp_path: Path) -> None:
    made = artifact.Artifact(options=Options(runtime="onnxruntime"), spec=SPEC, versions={}, described={})
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / artifact.FILE).write_bytes(encode(made))
    other = encode(msgspec.structs.replace(made, spec=SPEC.with_task(classes=4)))
    strange = encode(msgspec.structs.replace(made, described={"precision": "f32", "device": "CPU", "layers": [1]}))
    for described in (other, strange, b"{}", b"x" * 2_000_000, b""):
        _believes_nothing(hosts.there(Lying(0, artifact_json=described), "board", Recipe()), tmp_path)
    lying = Lying({"images": 9, "rows": 9}, observed_json=b"[]", artifact_json=encode(made))
    host = hosts.there(lying, "board", Recipe())
    assert host.finish
    host.finish(tmp_path / "a", tmp_path / "out", None)


def _believes_nothing(host: hosts.Host, tmp_path: Path) -> None:
    assert host.answer and host.observe and host.finish
    for ask in (
        lambda out: host.answer(tmp_path / "a", ["x.png"], out, None),
        lambda out: host.observe({"a": tmp_path / "a"}, ["x.png"], out, Rules(), None, None),
        lambda out: host.finish(tmp_path / "a", out, None),
    ):
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        with pytest.raises(IntegrityError, match="board sent "):
            ask(out)
