"""Zero-shot accuracy is what asking the network byte by byte comes to; refusals are sentences."""

import hashlib
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import prunebench
from prunebench.datasets import Text
from prunebench.errors import UsageError
from prunebench.metrics import Subject, ZeroShot
from prunebench.models import GPT
from prunebench.results import leaderboard

pytest.importorskip("lm_eval", reason="the harness is an extra, zero-shot")

from prunebench.metrics.answering import Answering

pytestmark = pytest.mark.slow
LENGTH = 24
EXAMPLES = [
    {"question": "the cat sat on", "choices": ["the mat", "a piano over there"], "answer": 0},
    {"question": "the dog", "choices": ["sleeps on the sky", "runs"], "answer": 1},
    {"question": "of all the words that do not fit a block", "choices": ["a", "none"], "answer": 1},
    {"question": "a man", "choices": ["walks", "cat", "the"], "answer": 2},
]
TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {examples}}}, cache_dir: {cache}}}
test_split: test
output_type: {kind}
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list: {metrics}
metadata: {{version: 2.0}}
"""
BOTH = "[{metric: acc}, {metric: acc_norm}]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of a text, and one of tasks."""
    folder = tmp_path_factory.mktemp("zero-shot")
    for split in ("train", "validation", "test"):
        (folder / f"{split}.txt").write_text("the cat sat on the mat\n" * 20)
    (folder / "examples.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in EXAMPLES))
    (folder / "tasks").mkdir()
    for name, kind, metrics, examples in (
        ("pets", "multiple_choice", BOTH, "examples"),
        ("pets_again", "multiple_choice", BOTH, "examples"),
        ("written", "generate_until", "[{metric: exact_match}]", "examples"),
        ("only_acc", "multiple_choice", "[{metric: acc}]", "examples"),
        ("gone", "multiple_choice", BOTH, "nothing"),
    ):
        (folder / f"tasks/{name}.yaml").write_text(
            TASK.format(
                name=name,
                kind=kind,
                metrics=metrics,
                examples=folder / f"{examples}.jsonl",
                cache=folder / "cache",
            )
        )
    return folder


@pytest.fixture(scope="module")
def task(folder):
    return Text(str(folder), length=LENGTH).load(folder)


def network(seed=0):
    torch.manual_seed(seed)
    return GPT(input_shape=(LENGTH,), classes=256, width=16, depth=2, heads=2, hidden=24).eval()


def by_hand(model, question, choice):
    """The log-probability of an answer's bytes, one after the other."""
    text = [*b"\n", *f"{question} {choice}".encode()]
    answer = len(f" {choice}".encode())
    total = 0.0
    for place in range(len(text) - answer, len(text)):
        # All of them are foretold in one pass, whose window ends before the last.
        window = text[max(0, len(text) - 1 - LENGTH) : place]
        with torch.no_grad():
            told = model(torch.tensor([window]))[0, -1].double().log_softmax(0)
        total += told[text[place]].item()
    return total


@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize("measure_by", ["acc", "acc_norm"])
def test_accuracy_is_that_of_the_answers_with_the_highest_probability(
    task, folder, measure_by, batch_size
):
    for seed in range(4):
        model = network(seed)
        right = 0
        for example in EXAMPLES:
            scores = [by_hand(model, example["question"], each) for each in example["choices"]]
            if measure_by == "acc_norm":
                sizes = [len(each) for each in example["choices"]]
                scores = [score / size for score, size in zip(scores, sizes, strict=True)]
            right += int(np.argmax(scores)) == example["answer"]
        metric = ZeroShot(
            ("pets", "pets_again"),
            measure_by=measure_by,
            folder=str(folder / "tasks"),
            batch_size=batch_size,
        )
        assert metric.measure(Subject(model, model, task, ())) == {
            "zero_shot": right / 4,
            "zero_shot_pets": right / 4,
            "zero_shot_pets_again": right / 4,
        }


def test_a_network_without_numbers_is_right_nowhere(task, folder):
    model = network()
    for parameter in model.parameters():
        parameter.data.fill_(float("nan"))
    metric = ZeroShot(("pets",), folder=str(folder / "tasks"))
    measured = metric.measure(Subject(model, model, task, ()))
    assert measured == {"zero_shot": 0.0, "zero_shot_pets": 0.0}


def test_an_answer_that_merges_with_its_context_is_not_certain(task):
    merged = {"ab": [3, 5], "abc": [3, 6]}
    asked = Answering(network(), lambda text: torch.tensor(merged[text]), LENGTH, 2)
    ((score, _),) = asked.loglikelihood([SimpleNamespace(args=("ab", "c"))])
    with torch.no_grad():
        told = network()(torch.tensor([[3]]))[0, -1].log_softmax(0)
    assert score == pytest.approx(told[6].item(), abs=1e-5)


def test_log_probabilities_are_the_networks_and_one_answer_is_the_most_probable(task):
    asked = Answering(network(), task.as_tokens, LENGTH, 7)
    for context in ("", "the cat"):
        requests = [SimpleNamespace(args=(context, chr(byte))) for byte in range(128)]
        scores, first = zip(*asked.loglikelihood(requests), strict=True)
        tokens = task.as_tokens(context).long().unsqueeze(0)
        with torch.no_grad():
            told = network()(tokens)[0, -1].log_softmax(0)
        assert scores == pytest.approx(told[:128].tolist(), abs=1e-5)
        assert sum(first) == (told.argmax() < 128)


def test_a_record_has_each_task_with_its_version_and_nobody_elses_numbers_change(folder, tmp_path):
    def state():
        return np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    settings = {
        "dataset": f"Text(folder={str(folder)!r}, length={LENGTH})",
        "model": "GPT(width=16, depth=1, heads=2, hidden=16)",
        "strategy": "Random",
        "sparsity": 0.5,
        "pretraining": {"epochs": 1},
        "recovery": "NoRecovery",
        "measurements": ["Size"],
        "least_dense_quality": 1000,
    }
    metric = f"ZeroShot(tasks=('pets',), folder={str(folder / 'tasks')!r}, limit=3)"
    without = prunebench.run(prunebench.Experiment(**settings), runs=tmp_path / "a")
    before = state()
    experiment = prunebench.Experiment(**settings, metrics=[metric])
    record = prunebench.run(experiment, runs=tmp_path / "b")
    assert state() == before
    assert record.final["perplexity"] == without.final["perplexity"]
    assert record.final["zero_shot_pets"] in (0, 1 / 3, 2 / 3, 1)
    (signature,) = (text for text in record.signatures.values() if text.startswith("lm-eval:"))
    questions = [
        [each["question"], f" {choice}", each["answer"]]
        for each in EXAMPLES[:3]
        for choice in each["choices"]
    ]
    digest = hashlib.sha256(json.dumps(questions).encode()).hexdigest()[:8]
    assert signature.endswith(f"|pets:2:{digest}|acc|limit:3")
    frame = leaderboard([record])
    assert frame["zero_shot_mean"].item() == record.final["zero_shot"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"tasks": ("pet",)}, "'pet' is no single task of the harness: did you mean 'pets'?"),
        ({"tasks": ("mmlu",)}, "'mmlu' is no single task of the harness"),
        ({"tasks": ("written",)}, "task written is not allowed: answers are written there"),
        ({"tasks": ("only_acc",), "measure_by": "acc_norm"}, "task only_acc has acc"),
        ({"tasks": ("gone",)}, "tasks gone could not be downloaded or read: "),
        ({"tasks": ("pets",), "folder": "nowhere"}, "folder: nowhere is no folder"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value["tasks"]),
)
def test_what_cannot_be_asked_is_refused_before_anything_runs(task, folder, arguments, sentence):
    settings = {"folder": str(folder / "tasks"), **arguments}
    with pytest.raises(UsageError) as caught:
        ZeroShot(**settings).check(task, network())
    assert sentence in str(caught.value)


def test_texts_are_neither_scored_whole_nor_written(task):
    asked = Answering(network(), task.as_tokens, LENGTH, 7)
    for ask in (asked.loglikelihood_rolling, asked.generate_until):
        with pytest.raises(UsageError, match="metric ZeroShot"):
            ask([])


def test_a_data_set_without_text_is_refused(digits):
    with pytest.raises(UsageError, match="it needs a data set of text"):
        ZeroShot(("pets",)).check(digits, network())
