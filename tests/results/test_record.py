"""A record says the same after a trip through JSON, and cannot contradict itself."""

from __future__ import annotations

import json
import math

import pytest
from pydantic import ValidationError

from prunebench.results import Outcome, Record


def test_what_is_not_finite_is_null_in_json_and_none_in_the_record(make_record):
    record = make_record(top1=math.nan, final={"loss": math.inf, "flops": -math.inf})
    assert [record.final[name] for name in ("top1", "loss", "flops")] == [None, None, None]
    assert json.loads(record.to_json())["final"]["loss"] is None
    assert Record.from_json(record.to_json()) == record


def test_tuples_in_the_experiment_are_the_lists_that_json_gives_back(make_record):
    record = make_record(metrics=("size", ("flops", math.nan)))
    assert record.experiment["metrics"] == ["size", ["flops", None]]
    assert Record.from_json(record.to_json()) == record


def test_whole_numbers_stay_whole_and_others_stay_exact(make_record):
    record = Record.from_json(make_record(top1=0.1 + 0.2, final={"nonzero": 7}).to_json())
    assert record.final["top1"] == 0.1 + 0.2
    assert type(record.final["nonzero"]) is int


def test_the_result_has_all_but_times_and_environments(make_record):
    record = make_record(timings={"finetuning_seconds": 1.5})
    everything = json.loads(record.to_json())
    for times in (
        *("timings", "doubts", "environment", "digests", "calibration"),
        *("inference", "inference_environment"),
    ):
        del everything[times]
    assert record.result() == everything


def test_the_results_of_two_runs_of_different_duration_are_equal(make_record):
    first, second = (make_record(timings={"finetuning_seconds": x}) for x in (1.0, 2.0))
    assert first != second
    assert first.result() == second.result()


@pytest.mark.parametrize(("status", "finished"), [("ok", 1), ("collapsed", 1), ("failed", 0)])
def test_only_a_failed_run_is_not_finished(make_record, status, finished):
    assert make_record(status=status).finished == bool(finished)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema_version", 2),
        ("id", "../../etc/passwd"),
        ("status", "great"),
        ("status", "failed"),
        ("error", {"type": "ValueError", "message": "no", "traceback": ""}),
        ("quality", {}),
        ("quality", {"top1": "sideways"}),
        ("surprise", 1),
    ],
)
def test_a_record_that_contradicts_itself_or_its_schema_is_refused(make_record, field, value):
    content = json.loads(make_record().to_json())
    content[field] = value
    with pytest.raises(ValidationError):
        Record.from_json(json.dumps(content))


def test_a_failed_record_with_measurements_is_refused(make_record):
    content = json.loads(make_record(status="failed").to_json())
    content["final"] = {"top1": 0.5}
    with pytest.raises(ValidationError, match="no measurements"):
        Record.from_json(json.dumps(content))


def test_an_outcome_is_the_part_of_the_record_that_its_fields_name(make_record):
    record = make_record()
    outcome = Outcome.from_json(record.to_json())
    assert outcome.model_dump() == record.model_dump(include=set(Outcome.model_fields))


def test_an_outcome_is_the_same_however_the_record_is_written(make_record):
    record = make_record(status="collapsed", described={}, top1=0.25)
    content = record.to_json()
    assert b'"error"' in content
    compact = json.dumps(json.loads(content)).encode()
    assert Outcome.from_json(content) == Outcome.from_json(compact)


def test_no_outcome_is_read_of_a_record_that_is_cut_off(make_record):
    content = make_record().to_json()
    for length in range(len(content) - 2):
        with pytest.raises(ValidationError):
            Outcome.from_json(content[:length])
