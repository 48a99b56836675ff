"""A bundle is whole, byte for byte, or it is not opened."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import edgewright
from edgewright.core.errors import IntegrityError, InvalidInput, UsageError
from edgewright.runtimes import artifact, bundle, registry
from edgewright.runtimes.options import Options


def rewrite(edge: Path, **changes: object) -> None:
    manifest = edge / bundle.MANIFEST
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **changes}))


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test as soon as a runtime would read the model."""
    monkeypatch.setattr(registry.module("onnxruntime"), "load", lambda *_: pytest.fail("the runtime read the bundle"))


def test_says_what_it_holds(edge: Path) -> None:
    manifest = bundle.verify(edge)
    assert manifest == bundle.inspect(edge)
    assert manifest.name == "colors"
    assert manifest.artifact == Options(runtime="onnxruntime")
    assert manifest.spec.labels == ("red", "green", "blue")
    assert manifest.provenance == {"source": "test"}
    assert set(manifest.files) == {"artifact.json", "model.onnx"}
    assert manifest.created.endswith("+00:00")


@pytest.mark.parametrize("name", ["model.onnx", "artifact.json"])
@pytest.mark.parametrize("place", [0, -1])
def test_one_flipped_bit_is_found_before_the_runtime_reads(edge: Path, unread: None, name: str, place: int) -> None:
    content = bytearray((edge / name).read_bytes())
    content[place] ^= 1
    (edge / name).write_bytes(content)
    for use in (bundle.verify, edgewright.open):
        with pytest.raises(IntegrityError, match=f"{name} changed"):
            use(edge)


def test_an_extra_file_is_refused(edge: Path, unread: None) -> None:
    (edge / "model.bin").write_bytes(b"")
    with pytest.raises(IntegrityError, match=r"not in the manifest: model\.bin"):
        edgewright.open(edge)


def test_a_missing_file_is_refused(edge: Path, unread: None) -> None:
    (edge / "model.onnx").unlink()
    with pytest.raises(IntegrityError, match=r"missing: model\.onnx"):
        edgewright.open(edge)


def test_a_missing_manifest_does_not_switch_the_check_off(edge: Path, unread: None) -> None:
    (edge / bundle.MANIFEST).unlink()
    with pytest.raises(IntegrityError, match=r"manifest\.json is missing"):
        edgewright.open(edge)
    with pytest.raises(InvalidInput, match="not a bundle"):
        bundle.verify(edge)


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
def test_links_that_lead_elsewhere_are_refused(edge: Path, tmp_path: Path, unread: None, name: str) -> None:
    outside = tmp_path / f"outside-{name}"
    (edge / name).rename(outside)
    (edge / name).symlink_to(outside)
    for use in (bundle.verify, edgewright.open):
        with pytest.raises(IntegrityError, match="link"):
            use(edge)


def linked(edge: Path, place: str, root: Path) -> Path:
    """The bundle as a hub's cache, DVC or a hard link keeps it: each file is a name of one that lies elsewhere."""
    folder = root / ("repo/snapshots/0123abcd" if place == "hub" else "work") / edge.name
    folder.mkdir(parents=True)
    for path in edge.iterdir():
        content = path.read_bytes()
        sha, md5 = hashlib.sha256(content).hexdigest(), hashlib.md5(content).hexdigest()
        kept = root / {"hub": f"repo/blobs/{sha}", "dvc": f"cache/files/md5/{md5[:2]}/{md5[2:]}", "hard": sha}[place]
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(content)
        if place == "hard":
            (folder / path.name).hardlink_to(kept)
        else:
            (folder / path.name).symlink_to(os.path.relpath(kept, folder) if place == "hub" else kept)
    return folder


@pytest.mark.parametrize("place", ["hub", "dvc", "hard"])
def test_links_of_hub_caches_and_dvc_are_read_and_verified(edge: Path, tmp_path: Path, place: str) -> None:
    folder = linked(edge, place, tmp_path)
    bundle.verify(folder)
    edgewright.open(folder).close()
    model = (folder / "model.onnx").resolve()
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match=r"model\.onnx"):
        edgewright.open(folder)


def test_a_cache_that_lacks_a_file_says_so(edge: Path, tmp_path: Path) -> None:
    folder = linked(edge, "hub", tmp_path)
    (folder / "model.onnx").resolve().unlink()
    with pytest.raises(InvalidInput, match=r"model\.onnx.*which is missing"):
        edgewright.open(folder)


def test_a_blob_that_is_itself_a_link_leads_nowhere(edge: Path, tmp_path: Path, unread: None) -> None:
    folder = linked(edge, "hub", tmp_path)
    blob = (folder / "model.onnx").resolve()
    outside = blob.rename(tmp_path / "outside.onnx")
    blob.symlink_to(outside)
    with pytest.raises(IntegrityError, match="link"):
        edgewright.open(folder)


def test_what_systems_leave_in_folders_is_passed_over(edge: Path) -> None:
    (edge / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (edge / "._model.onnx").write_bytes(b"\0\5\x16\7")
    edgewright.open(edge).close()
    bundle.verify(edge)


def test_a_manifest_that_describes_another_model_is_refused(edge: Path) -> None:
    main = json.loads((edge / "manifest.json").read_bytes())["artifacts"]["main"]
    rewrite(edge, artifacts={"main": {**main, "options": {"runtime": "onnxruntime", "threads": 7}}})
    with pytest.raises(IntegrityError, match="describe different models"):
        bundle.verify(edge)


def test_a_linked_folder_is_refused(edge: Path, tmp_path: Path, unread: None) -> None:
    (tmp_path / "elsewhere").mkdir()
    (edge / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match="not in the manifest: sub"):
        edgewright.open(edge)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "sub/../../secret"])
def test_names_that_climb_are_refused(edge: Path, unread: None, name: str) -> None:
    (edge.parent / "secret").write_text("secret")
    rewrite(edge, files={**bundle.inspect(edge).files, name: "0" * 64})
    for use in (bundle.verify, edgewright.open):
        with pytest.raises(IntegrityError, match="Refused to open"):
            use(edge)


@pytest.mark.parametrize("use", [bundle.inspect, bundle.verify, edgewright.open])
def test_a_newer_schema_asks_for_an_update(edge: Path, use: Callable[[Path], object]) -> None:
    rewrite(edge, schema_version=99)
    with pytest.raises(InvalidInput, match="schema version 99") as caught:
        use(edge)
    assert "pip install -U" in caught.value.fix


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"schema_version": "new"}'])
def test_a_malformed_manifest_is_named(edge: Path, unread: None, content: bytes) -> None:
    (edge / bundle.MANIFEST).write_bytes(content)
    for use in (bundle.verify, edgewright.open):
        with pytest.raises(InvalidInput, match=r"manifest\.json is not valid"):
            use(edge)


def test_an_older_bundle_is_replaced(edge: Path, build: Callable[..., Path]) -> None:
    bundle.write(build(), edge, name="second", provenance={})
    assert bundle.verify(edge).name == "second"
    assert [entry.name for entry in edge.parent.glob(".*")] == []


def test_a_folder_of_other_things_is_never_replaced(build: Callable[..., Path], tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(b"precious")
    with pytest.raises(UsageError, match="exists and is not a bundle"):
        bundle.write(build(), photos, name="colors", provenance={})
    assert (photos / "a.jpg").read_bytes() == b"precious"


def test_what_is_no_artifact_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match=r"artifact\.json"):
        bundle.write(tmp_path / "empty", tmp_path / "out.edge", name="x", provenance={})
    assert os.listdir(tmp_path) == ["empty"]


def test_a_store_result_is_an_artifact_and_is_checked_too(build: Callable[..., Path], tmp_path: Path) -> None:
    from edgewright.core.store import Store

    source = build()
    names = ("artifact.json", "model.onnx")
    entry = Store(tmp_path / "store").stage(
        "artifact", {}, lambda folder: [(folder / n).write_bytes((source / n).read_bytes()) for n in names] and None
    )
    edgewright.open(entry.path).close()
    manifest = bundle.write(entry.path, tmp_path / "out.edge", name="colors", provenance={})
    assert set(manifest.files) == set(names)  # not the store's own manifest
    (entry.path / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(IntegrityError):
        edgewright.open(entry.path)


def test_what_was_built_is_what_is_bundled(edge: Path, build: Callable[..., Path]) -> None:
    for name in bundle.inspect(edge).files:
        assert (edge / name).read_bytes() == (build() / name).read_bytes()
    assert artifact.read(edge).spec == bundle.inspect(edge).spec
