"""Sources: what names a model, how its weights are read, what is known of it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

from edgewright.core.errors import IntegrityError, InvalidInput, Unavailable, UsageError
from edgewright.export.sources import checkpoint, timm, torchvision, trainable
from edgewright.export.sources import torch as torch_source
from edgewright.export.sources.parse import parse


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("timm:resnet18", "timm", "resnet18"),
        ("timm:resnet18.a1_in1k?num_classes=10", "timm", "resnet18.a1_in1k"),
        ("torchvision:squeezenet1_1", "torchvision", "squeezenet1_1"),
        ("ultralytics:yolo11n", "ultralytics", "yolo11n"),
        ("ultralytics:/my/best.pt?imgsz=320", "ultralytics", "/my/best.pt"),
        ("torch:package.module:factory", "torch", "package.module:factory"),
        ("torch:/a b/models.py:make?width=0.5", "torch", "/a b/models.py:make"),
        ("/some/model.onnx", "onnx", "/some/model.onnx"),
    ],
)
def test_sources_are_parsed(text: str, kind: str, name: str) -> None:
    source = parse(text)
    assert (source.kind, source.name, source.text) == (kind, name, text)


def test_options_become_values_and_arguments_win() -> None:
    options = parse("timm:x?a=1&b=x&c=true&d=none&e=0.5&f=[1,2]&a=2").options
    assert options == {"a": 2, "b": "x", "c": True, "d": None, "e": 0.5, "f": [1, 2]}


@pytest.mark.parametrize("text", ["", "resnet18", "timm:", "ultralytics:", "transformers:", "torch:x"])
def test_what_names_no_source_shows_the_forms(text: str) -> None:
    with pytest.raises(UsageError, match="timm:resnet18"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("tmm:resnet18", "'timm:resnet18'"),
        ("Timm:resnet18", "'timm:resnet18'"),
        ("torchvison:resnet18", "'torchvision:resnet18'"),
        ("ultralytic:yolo11n", "'ultralytics:yolo11n'"),
        ("package.module:factory", "torch:package.module:factory"),
        ("models.py:factory", "torch:models.py:factory"),
        ("resnet18", "timm:resnet18"),
        ("runs/best.pt", "ultralytics:runs/best.pt --trust-checkpoint"),
        ("best.safetensors", "--checkpoint best.safetensors"),
    ],
)
def test_code_is_named_behind_torch_only(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert hint in caught.value.fix


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("timm:resnet18?checkpoint_path=/x.pth", "checkpoint_path"),
        ("timm:resnet18?pretrained_cfg={'file':'x'}", "pretrained_cfg"),
        ("timm:resnet18?pretrained_cfg_overlay={'file':'x'}", "pretrained_cfg_overlay"),
        ("timm:resnet18?cache_dir=/tmp", "cache_dir"),
        ("timm:resnet18?num_clases=10", "Did you mean 'num_classes'"),
        ("timm:resnet18?act_layer=../x", "act_layer"),
        ("timm:resnet18?img_size={'a':1}", "img_size"),
        ("torchvision:resnet18?weights_backbone=DEFAULT", "weights_backbone"),
        ("ultralytics:yolo11n.yaml?model=x.pt", "model"),
    ],
)
def test_options_that_name_files_hubs_or_folders_are_refused(text: str, word: str) -> None:
    with pytest.raises(UsageError) as caught:
        trainable(parse(text))
    assert word in str(caught.value)


def linear() -> torch.nn.Module:
    torch.manual_seed(1)
    return torch.nn.Linear(3, 2)


@pytest.mark.parametrize("wrap", ["plain", "state_dict", "module prefix", "half", "old format", "safetensors"])
def test_weights_are_read_from_every_common_form(tmp_path: Path, wrap: str) -> None:
    state = linear().state_dict()
    path = tmp_path / "weights.bin"
    if wrap == "safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    else:
        content = {
            "state_dict": {"epoch": 3, "state_dict": state},
            "module prefix": {f"module.{k}": v for k, v in state.items()},
            "half": {k: v.half() for k, v in state.items()},
        }.get(wrap, state)  # fmt: skip
        torch.save(content, path, _use_new_zipfile_serialization=wrap != "old format")
    module = torch.nn.Linear(3, 2)
    checkpoint.apply(module, path)
    assert module.weight.dtype == torch.float32
    torch.testing.assert_close(module.weight, linear().weight, rtol=1e-3, atol=1e-3)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('the code in the checkpoint ran')",)


@pytest.mark.parametrize("new", [True, False])
def test_code_in_a_checkpoint_never_runs(tmp_path: Path, new: bool) -> None:
    torch.save({"state_dict": Evil()}, tmp_path / "evil.pt", _use_new_zipfile_serialization=new)
    with pytest.raises(IntegrityError, match="--trust-checkpoint"):
        checkpoint.read(tmp_path / "evil.pt")


def test_a_whole_pickled_model_needs_trust(tmp_path: Path) -> None:
    torch.save(linear(), tmp_path / "model.pt")
    with pytest.raises(IntegrityError, match=r"torch\.nn\.modules\.linear\.Linear"):
        checkpoint.read(tmp_path / "model.pt")
    assert checkpoint.apply(torch.nn.Linear(3, 2), tmp_path / "model.pt", trust=True) == ()


@pytest.mark.parametrize("form", ["zip", "old", "safetensors"])
def test_truncated_checkpoints_are_refused(tmp_path: Path, form: str) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "weights"
    state = {"weight": torch.zeros(40, 30)}
    save_file(state, path) if form == "safetensors" else torch.save(
        state, path, _use_new_zipfile_serialization=form == "zip"
    )
    content = path.read_bytes()
    for cut in (0, 4, 9, 30, len(content) // 2, len(content) - 5):
        path.write_bytes(content[:cut])
        with pytest.raises(InvalidInput, match="cannot be read"):
            checkpoint.read(path)


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no checkpoint file"):
        checkpoint.read(tmp_path / "none.pt")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "x")
    with pytest.raises(InvalidInput, match="cannot be read"):
        checkpoint.read(tmp_path / "a.zip")
    (tmp_path / "a.txt").write_text("hello, not a checkpoint")
    with pytest.raises(InvalidInput, match="cannot be read"):
        checkpoint.read(tmp_path / "a.txt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(InvalidInput, match="list"):
        checkpoint.read(tmp_path / "list.pt")


def test_keys_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({"weight": torch.zeros(7, 3), "extra": torch.zeros(1)}, path)
    with pytest.raises(InvalidInput) as error:
        checkpoint.apply(torch.nn.Linear(3, 2), path)
    for said in ("1 missing: bias", "1 unexpected: extra", "weight is [7, 3], not [2, 3]"):
        assert said in error.value.what


def network() -> torch.nn.Module:
    torch.manual_seed(2)
    norm = torch.nn.BatchNorm2d(4)
    torch.nn.init.normal_(norm.running_mean)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), norm, torch.nn.Flatten(), torch.nn.Linear(4, 2))


def renamed(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{key}": value for key, value in state.items()}


RAW = network().state_dict()
EMA = {key: value + 1 if value.is_floating_point() else value for key, value in RAW.items()}
UNCOUNTED = {key: value for key, value in EMA.items() if "num_batches_tracked" not in key}
ONE = torch.ones(1)


@pytest.mark.parametrize(
    ("content", "averaged", "said"),
    [
        (RAW, False, ()),
        (renamed(RAW, "module."), False, ("from module in",)),
        (renamed(RAW, "module._orig_mod."), False, ("from module in",)),
        (renamed(RAW, "state_dict.model."), False, ("from state_dict.model in",)),
        ({"model": renamed(RAW, "backbone."), "epoch": 3, "optimizer": {"state": {0: {"exp_avg": ONE}}}}, False,
         ("from model.backbone in",)),
        ({"state_dict": renamed(RAW, "net.") | {"criterion.weight": ONE, "val_acc.total": ONE}}, False,
         ("from state_dict.net in", "Left out of the checkpoint: criterion.weight, val_acc.total.")),
        ({"state_dict": renamed(RAW, "any_name.")}, False, ("from state_dict.any_name in",)),
        (RAW | {"loss_fn.weight": ONE, "total_ops": ONE, "0.total_params": ONE}, False,
         ("Left out of the checkpoint: loss_fn.weight, total_ops, 0.total_params.",)),
        (renamed(EMA, "module.") | {"n_averaged": ONE}, True, ("from module in", "checkpoint: n_averaged.")),
        ({"state_dict": RAW, "state_dict_ema": EMA}, True,
         ("from state_dict_ema, a moving average", "left out: state_dict.")),
        ({"model": RAW, "model_ema": renamed(EMA, "module.")}, True, ("from model_ema.module, a moving average",)),
        ({"state_dict": renamed(RAW, "model.") | renamed(EMA, "ema_model.")}, True,
         ("from state_dict.ema_model, a moving average", "left out: state_dict.model.")),
        (renamed(RAW, "student.") | renamed(EMA, "ema."), True, ("from ema, a moving average", "left out: student.")),
        ({"state_dict": renamed(RAW, "model.") | renamed(UNCOUNTED, "ema_model.")}, True,
         ("from state_dict.ema_model, a moving average", "left out: state_dict.model.")),
        ({"model": RAW, "EMA": EMA}, True, ("from EMA, a moving average", "left out: model.")),
        ({"model": RAW, "model_EMA": EMA}, True, ("from model_EMA, a moving average",)),
        ({"model": RAW, "emaModel": EMA}, True, ("from emaModel, a moving average",)),
        ({"model": RAW, "EMAModel": EMA}, True, ("from EMAModel, a moving average",)),
        ({"model": RAW, "schema": EMA, "cinema_net": EMA}, False, ("from model in", "left out: schema, cinema_net.")),
        (renamed(RAW, "model.") | renamed(RAW, "ema.online_model.") | renamed(EMA, "ema.ema_model.")
         | {"ema.step": ONE, "ema.initted": ONE}, True, ("from ema.ema_model, a moving average", "ema.online_model")),
        ({"a": RAW, "b": {k: v for k, v in RAW.items() if "num_batches" not in k}}, False, ("from a in",)),
        ({"model": RAW, "best": EMA}, False, ("from model in", "left out: best.")),
        ({"a": RAW, "b": dict(RAW)}, False, ("from a in", "left out: b.")),
    ],
)  # fmt: skip
def test_prefixes_wrappers_and_averages_are_taken_off_and_said(
    tmp_path: Path, content: dict[str, object], averaged: bool, said: tuple[str, ...]
) -> None:
    torch.save(content, tmp_path / "w.pt")
    module = network()
    for tensor in module.state_dict().values():
        tensor.zero_()
    notes = " ".join(checkpoint.apply(module, tmp_path / "w.pt"))
    for key, value in module.state_dict().items():
        assert torch.equal(value, (EMA if averaged else RAW)[key]), key
    assert bool(notes) == bool(said)
    for words in said:
        assert words in notes


def test_names_that_compiling_a_part_changed_are_read(tmp_path: Path) -> None:
    state = {key.replace("0.", "0._orig_mod.", 1) if key.startswith("0.") else key: v for key, v in RAW.items()}
    torch.save(state, tmp_path / "w.pt")
    assert checkpoint.apply(network(), tmp_path / "w.pt") == ()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (renamed(RAW, "student.") | renamed(EMA, "teacher."), "in 2 places: student, teacher"),
        ({key: value for key, value in renamed(RAW, "model.").items() if "0.weight" not in key}, "1 missing: 0.weight"),
        (renamed(RAW, "model.") | {"model.4.weight": ONE}, "1 unexpected: 4.weight"),
        (RAW | {"aux.weight": ONE}, "1 unexpected: aux.weight"),
        ({"state_dict": renamed(RAW, "model.") | {"model.3.bias": torch.zeros(5)}}, r"3.bias is \[5\], not \[2\]"),
    ],
)
def test_weights_that_are_ambiguous_or_do_not_fit_are_never_guessed(
    tmp_path: Path, content: dict[str, object], said: str
) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(InvalidInput, match=said):
        checkpoint.apply(network(), tmp_path / "w.pt")


def test_what_was_taken_of_a_checkpoint_is_a_note_of_the_model(tmp_path: Path) -> None:
    for library in ("timm", "torchvision"):
        source = f"{library}:resnet18?num_classes=3&pretrained=false"
        state = trainable(parse(source)).module.state_dict()
        torch.save({"state_dict": renamed(state, "model.")}, tmp_path / "w.ckpt")
        loaded = trainable(parse(source), str(tmp_path / "w.ckpt")).load()
        assert loaded.notes == ("The weights were taken from state_dict.model in the checkpoint.",)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.full((2, 3), float("nan")), "bias": torch.zeros(2)}, tmp_path / "w.pt")
    with pytest.raises(InvalidInput, match="NaN"):
        checkpoint.apply(torch.nn.Linear(3, 2), tmp_path / "w.pt")


def test_timm_brings_its_preprocessing_and_labels() -> None:
    loaded = timm.trainable("resnet18", {"pretrained": False}).load()
    assert loaded.weights == "random, seed 0"
    assert loaded.spec["preprocess"]["resize_to"] == (235, 235)  # 224 / 0.95, as timm's own transform floors it
    assert loaded.spec["preprocess"]["interpolation"] == "bicubic"
    labels = loaded.spec["labels"]
    assert len(set(labels)) == 1000
    assert labels[0].startswith("tench")
    assert timm.trainable("resnet18", {"pretrained": False, "num_classes": 10}).load().spec["labels"] == ()


def test_timm_errors_name_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InvalidInput, match="resnet18"):
        timm.trainable("resnet81", {}).load()
    with pytest.raises(InvalidInput, match="no_such_option"):
        timm.trainable("resnet18", {"pretrained": False, "no_such_option": 1}).load()
    with pytest.raises(InvalidInput, match="tag"):
        timm.trainable("resnet18.no_such_tag", {"pretrained": False}).load()


def test_without_a_network_the_hub_is_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import timm as library
    import torch.hub

    def offline(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(library, "create_model", offline)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(Unavailable, match="--checkpoint"):
        timm.trainable("resnet18", {}).load()
    with pytest.raises(Unavailable, match="pretrained=false"):
        torchvision.trainable("squeezenet1_1", {}).load()


def test_torchvision_describes_itself_without_a_network() -> None:
    spec = torchvision.trainable("resnet50", {"pretrained": False}).load().spec
    assert spec["preprocess"]["resize_to"] == (232, 232)
    assert spec["input"] == {"height": 224, "width": 224}
    assert len(set(spec["labels"])) == 1000
    older = torchvision.trainable("resnet50", {"pretrained": False, "weights": "IMAGENET1K_V1"}).load().spec
    assert older["preprocess"]["resize_to"] == (256, 256)
    with pytest.raises(InvalidInput, match="IMAGENET1K_V1"):
        torchvision.trainable("squeezenet1_1", {"weights": "V9"}).load()
    with pytest.raises(InvalidInput, match="squeezenet1_1"):
        torchvision.trainable("squeezenet1_2", {}).load()


def test_a_factory_may_stand_in_a_file_or_a_module(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import torch\ndef make(n=2): return torch.nn.Linear(n, n)\nthing = 3\n")
    file = f"{tmp_path}/mine.py"
    assert torch_source.trainable(f"{file}:make", {"n": 5}).load().model.in_features == 5
    assert isinstance(torch_source.trainable("torch.nn:Identity", {}).load().model, torch.nn.Identity)
    for name, options, said in [
        (f"{file}:other", {}, "no function 'other'"),
        (f"{file}:make", {"m": 5}, "unexpected keyword"),
        (f"{tmp_path}/none.py:make", {}, "no file"),
        ("no_such_module_anywhere:make", {}, "cannot be imported"),
        ("os:getcwd", {}, "returned str"),
    ]:
        with pytest.raises(InvalidInput, match=said):
            torch_source.trainable(name, options).load()
