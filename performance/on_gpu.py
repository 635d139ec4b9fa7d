"""All that is to be measured on a GPU, in steps of at most eight minutes each.

    python performance/on_gpu.py                     # every step, one after the other
    python performance/on_gpu.py recipe              # one step; this one goes on where it stopped
    python performance/on_gpu.py --device cpu --small -o /tmp/tried   # tries the script out

A step needs this repository and what is installed with it; only the recipe needs data, CIFAR-10.
What each step prints goes to its file in results/published/gpu-NAME, which begins with the name of
the machine; errors and progress go to the terminal. What needs CUDA, or two GPUs, is left out by
name where they are not there. Exit status 1: a step failed.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
_LIMIT_SECONDS = 8 * 60
_SMALL_SECONDS = 2 * 60
_RUNS = Path("runs/gpu")
_STOPPING_SECONDS = 30

Commands = Callable[[str, bool, Path], list[str]]
"""The commands of a step, given the device, whether it is only tried, and the folder of results."""


def main() -> int:
    """Run the steps that are asked for, and tell how each ended."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("steps", nargs="*", metavar="STEP", help=", ".join(STEPS))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="try it out in tiny sizes")
    parser.add_argument("-o", "--output", type=Path, help="folder of what is printed")
    options = parser.parse_args()
    if unknown := set(options.steps) - set(STEPS):
        parser.error(f"{', '.join(sorted(unknown))} is none of {', '.join(STEPS)}")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device: cuda is not here: give cpu with --small to try the script out")
    if options.device == "cpu" and not options.output:
        parser.error("--output: say where, since what a CPU takes is no result")
    output = (options.output or ROOT / "results/published" / f"gpu-{_name()}").resolve()
    ended = {}
    for step in options.steps or STEPS:
        if reason := _lacking(step, options.device):
            ended[step] = f"left out: {reason}"
            continue
        commands = STEPS[step](options.device, options.small, output)
        seconds = _SMALL_SECONDS if options.small else _LIMIT_SECONDS
        ended[step] = _run(commands, output / f"{step}.txt", options.device, seconds)
    print("\n".join(f"{step}: {how}" for step, how in ended.items()))
    return int(any(how.startswith("failed") for how in ended.values()))


def _lacking(step: str, device: str) -> str:
    """Why a step cannot be taken; empty if it can."""
    if step == "tests" and device == "cpu":
        return "the tests that are marked gpu are skipped without CUDA"
    if step == "ddp" and device == "cuda" and _gpus() < 2:
        return "it needs two GPUs"
    return ""


def _run(commands: list[str], path: Path, device: str, limit: float) -> str:
    """How it ended when commands were run one after the other; what they print is in a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + limit
    with path.open("w") as file:
        print(_machine(device), file=file)
        for command in commands:
            print(f"\n$ {command}\n", file=file, flush=True)
            print(f"$ {command}", flush=True)
            status = _status(command, file.fileno(), end - time.monotonic())
            if status is None:
                return f"stopped after {limit:.0f} seconds; what it had printed is in {path}"
            if status != 0:
                return f"failed with exit status {status}: {command}"
    return f"done; see {path}"


def _status(command: str, output: int, seconds: float) -> int | None:
    """The exit status of a command; None if it had to be interrupted."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    process = subprocess.Popen(
        shlex.split(command),
        stdout=output,
        cwd=ROOT,
        env={**os.environ, "PATH": path},
    )
    for number, patience in ((signal.SIGINT, seconds), (signal.SIGKILL, _STOPPING_SECONDS)):
        try:
            status = process.wait(max(patience, 0.1))
        except subprocess.TimeoutExpired:
            process.send_signal(number)  # workers end with it
        else:
            return status if number == signal.SIGINT else None
    process.wait()
    return None


def _name() -> str:
    """The GPU's name as a folder may have it."""
    return re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name().lower()).strip("-")


def _machine(device: str) -> str:
    gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    return (
        f"{' + '.join(gpus) if device == 'cuda' else 'no GPU, tried out on the CPU'}; "
        f"{platform.machine()}, {os.cpu_count()} cores; torch {torch.__version__}, "
        f"CUDA {torch.version.cuda}; Python {platform.python_version()}"
    )


def _tests(device: str, small: bool, output: Path) -> list[str]:
    return ["python -m pytest -q -m gpu tests"]


def _loops(device: str, small: bool, output: Path) -> list[str]:
    size = "--steps 2 --turns 6" if small else "--steps 100 --turns 20"
    images = "performance/random_images.py:RandomImages"
    large = "channels=3, size=32, augmentation='crop', examples=12_800"
    command = f"python performance/training_speed.py --device {device} --batch-size 128 {size}"
    return [
        f"{command} --model LeNet5 --dataset '{images}(examples=12_800)'",
        f"{command} --model 'CifarResNet(depth=20)' --dataset \"{images}({large})\"",
    ]


def _times(device: str, small: bool, output: Path) -> list[str]:
    """Times by events on the device, dense, in the 2:4 pattern, and with half of the channels."""
    hidden, runs = ("64, 64", f"{_RUNS}/small") if small else ("4096, 4096", f"{_RUNS}/times")
    untrained = "--pretraining.epochs 0 --recovery NoRecovery --measurements Size"
    run = f"prunebench run --dataset Digits --runs {runs} --device {device} {untrained}"
    network = f"--model 'Perceptron(hidden=({hidden}))' --prune-classifier false"
    less = "--repeats 6 --batch-sizes 1" if small else "--batch-sizes 1 256 4096"
    return [
        f"{run} {network} --strategy 'GlobalMagnitude(structure=NM(n=2, m=4))' --sparsity 0.5",
        f"{run} --model 'CifarResNet(depth=20)' --channel-sparsity 0.5 "
        "--strategy 'StructuredL1(structure=CoupledChannels)'",
        f"prunebench measure {runs} --device {device} --runtimes Eager SemiStructured {less}",
    ]


def _stacked(device: str, small: bool, output: Path) -> list[str]:
    size = "--stack 2 --epochs 1 --turns 2" if small else "--stack 4 16 64"
    images = "--dataset 'performance/random_images.py:RandomImages(examples=1_280)'"
    return [
        f"python performance/stacked_training.py --device {device} --model {model} {images} {size}"
        for model in ("LeNet5", "'CifarResNet(depth=20)'")
    ]


def _recipe(device: str, small: bool, output: Path) -> list[str]:
    """The recipe as it is published; interrupted, it goes on from its last checkpoint."""
    run = "prunebench run experiments/cifar10.yaml --checkpoint-minutes 2"
    if small:
        less = "--dataset Digits --strategy Random GlobalMagnitude --compression 4 --seed 0"
        epochs = "--pretraining.epochs 4 --finetuning.epochs 2"
        return [f"{run} {less} {epochs} --device {device} --runs {_RUNS}/small-recipe"]
    runs = f"{_RUNS}/cifar10"
    page = f"-o {output}/recipe.csv --plots {output} --report {output}/recipe.html"
    return [
        f"{run} --device {device} --workers {_gpus()} --runs {runs}",
        f"prunebench leaderboard {runs} {page}",
    ]


def _ddp(device: str, small: bool, output: Path) -> list[str]:
    count = _gpus() if device == "cuda" else 2
    size = "--pretraining.epochs 2 --finetuning.epochs 1" if small else "--pretraining.epochs 20"
    return [
        f"torchrun --nproc-per-node {count} -m prunebench run --dataset Digits "
        "--model 'CifarResNet(depth=20)' --strategy GlobalMagnitude --compression 8 --force "
        f"--device {device} {size} --runs {_RUNS}/ddp"
    ]


def _gpus() -> int:
    return max(1, torch.cuda.device_count())


STEPS: dict[str, Commands] = {
    "tests": _tests,
    "loops": _loops,
    "times": _times,
    "stacked": _stacked,
    "recipe": _recipe,
    "ddp": _ddp,
}


if __name__ == "__main__":
    sys.exit(main())
