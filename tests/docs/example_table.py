"""What is done with examples that cannot run as they stand: placeholders, substitutions, and what is only parsed."""

from __future__ import annotations

import functools
import re
import shlex
from dataclasses import dataclass

from example_world import FACTORY

PLACEHOLDERS = {"SOURCE": "timm:resnet18", "NAME": "jetson-orin-nano"}
PARSED_PLACEHOLDERS = {
    "HISTORY": "history.jsonl", "REPORT": "out",
    "BUNDLE": "a.edge", "COMMAND": "doctor", "DETECTOR": "ultralytics:yolo11n", "DIR": "photos/", "FILE": "a.file",
    "FOLDER": "slim", "MODEL.onnx": "model.onnx", "N": "1", "NEW": "b.edge", "NEW.onnx": "b.onnx", "X": "1.5",
    "{...}": "it", "user@device": "nano@jetson.local",
}  # fmt: skip
"""What a command with one of these does depends on what the reader puts there: it is only parsed."""


@dataclass(frozen=True)
class Substitution:
    """A part of a command line (a pattern) that cannot run here, what runs instead, and why."""

    part: str
    instead: str
    why: str


SUBSTITUTIONS = (
    Substitution(r'"/model\.edge"', '"resnet18.edge"', "the bundle of a container"),
    Substitution(r"^(edgewright demo --save-data) \.$", r"\1 new", "the folder of the examples is not empty"),
    Substitution(
        r'^(outcome = edgewright\.optimize\()"timm:resnet18[^"]*"(?:, checkpoint="best.safetensors")?',
        rf'\1"{FACTORY}", spec="net.toml", recipe="here.toml"',
        "as on the command line",
    ),
    Substitution(
        r"'?(?:ultralytics:|torchvision:ssdlite)[^\s']+'?", "detector.onnx",
        "weights are a download or a pickle, and these networks large: a detector of squares (tests/export has them)",
    ),
    Substitution(
        r"'?(?:timm|torchvision):[^\s']+'?", FACTORY,
        "weights are a download, and these networks large: a network of five layers (tests/export has them)",
    ),
    Substitution(
        rf"^(edgewright \w+ {FACTORY})(?!.* --spec)(.*)", r"\1 --spec net.toml\2",
        "a factory has no preprocessing, as the library's model had",
    ),
    Substitution(
        r"^(edgewright \w+) (?:[abc]|slim|small|sparse) ", r"\1 slim --trust-checkpoint ",
        "one folder stands for all that prune and distill made, of that factory",
    ),
    Substitution(
        r"^(edgewright optimize .*--target jetson.*?)(?: --recipe \S+)?( -o .*)", r"\1 --recipe jetson.toml\2",
        "one INT8 method and no other thing is tried",
    ),
    Substitution(
        r"^(edgewright optimize (?!.*--recipe jetson).*?)(?: --recipe \S+)?( -o .*)", r"\1 --recipe here.toml\2",
        "one INT8 method, one runtime and no other thing is tried",
    ),
    Substitution(
        r"^(edgewright (?:prune|distill) .*?)(?: --(?:train-time|epochs) \S+)?( -o .*)", r"\1 --epochs 1\2",
        "one pass over the images instead of half an hour",
    ),
    Substitution(
        r"^(edgewright prune .*?)(?:--blocks \d+ )?--speedup \S+", r"\1--blocks 1",
        "a table of layers takes minutes (tests/pipeline/test_pruning.py times one); the network has two blocks",
    ),
)  # fmt: skip

PARSED_ONLY = {
    r" --on | targets clean ": "needs a device on the network; tests/targets measure over an SSH server on loopback",
    r" s3://": "needs a bucket; tests/bench/test_history.py writes to a folder by the same code",
    r"compile resnet18\.edge ": "builds a TensorRT plan, which only the Jetson can",
}

OTHERS_OPTIONS = {
    "--upgrade": "uv",
    "--system-site-packages": "venv",
    "--security-opt": "docker",
    "--user": "docker",
    "--cpus": "docker",
    "--cpuset-cpus": "docker",
    "--no-index": "pip",
    "--benchmark-compare": "pytest-benchmark",
    "--between": "pytest-benchmark",
    "--group-by": "pytest-benchmark",
    "--tflite": "tf2onnx",
}
"""Options that stand alone in the docs and are not ours."""


def plain(command: str) -> str:
    """A command line without its comment, quoted in one way only."""
    return shlex.join(shlex.split(command, comments=True))


def filled(command: str) -> str:
    """A command line with its placeholders filled in."""
    words = shlex.split(command, comments=True)
    words = [{**PLACEHOLDERS, **PARSED_PLACEHOLDERS}.get(word, word) for word in words]
    return shlex.join(words if words[0] == "edgewright" else ["edgewright", *words])


def runnable(example: str) -> str:
    """A command line or Python block with what cannot run here replaced."""
    return functools.reduce(replaced, SUBSTITUTIONS, example)


def replaced(example: str, one: Substitution) -> str:
    """`example` with one of the substitutions made."""
    return re.sub(one.part, one.instead, example, flags=re.MULTILINE)


def only_parsed(command: str) -> bool:
    """Whether a command line is not run."""
    return any(re.search(part, command) for part in PARSED_ONLY)


def is_open(command: str) -> bool:
    """Whether the reader must decide a part of it, so that it cannot be run."""
    return bool(PARSED_PLACEHOLDERS.keys() & set(shlex.split(command)))
