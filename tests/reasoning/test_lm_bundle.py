"""Bundles that cannot be used are refused by file, place and remedy, before a model is asked."""

import codecs
from types import SimpleNamespace

import pytest
import torch

from reasoning.pretraining.evaluation.core import evaluate_bundle
from reasoning.pretraining.evaluation.core_tasks import (
    BundleError,
    read_bundle,
    read_items,
)
from reasoning.pretraining.evaluation.likelihood import Scorer
from reasoning.training.distribution import World

NOT_ASKED = Scorer(SimpleNamespace(), World(0, 1, torch.device("cpu")))


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("core.yaml", None, None, "core.yaml: missing"),
        ("eval_meta_data.csv", None, None, "eval_meta_data.csv: missing"),
        ("eval_data/ab/say.jsonl", None, None, "say.jsonl: missing, but task say needs it"),
        ("eval_data/ab/say.jsonl", ".*", "", "say.jsonl: task say has no items"),
        ("eval_data/ab/say.jsonl", "3", '{"context": "a"', "say.jsonl:3: not JSON"),
        ("eval_data/ab/say.jsonl", "2", '{"context": "a"}', "say.jsonl:2: .*continuation: "),
        (
            "eval_data/ab/say.jsonl",
            "2",
            '{"context": "a", "continuation": " "}',
            "say.jsonl:2: .*continuation: ",
        ),
        (
            "eval_data/ab/choose.jsonl",
            "4",
            '{"query": "a", "choices": ["a", "b"], "gold": 2}',
            "choose.jsonl:4: gold 2 is none of the 2 choices",
        ),
        (
            "eval_data/ab/say.jsonl",
            "2",
            '{"context": "a\\ud800", "continuation": "b"}',
            "say.jsonl:2: .*context: .*character 1 is a lone surrogate",
        ),
        (
            "eval_data/ab/choose.jsonl",
            "4",
            '{"query": "a", "choices": ["a", "b\\udc00"], "gold": 1}',
            "choose.jsonl:4: .*choices.1: .*character 1 is a lone surrogate",
        ),
        (
            "eval_data/ab/say.jsonl",
            "2",
            b'{"context": "a\xff"}',
            "say.jsonl:2: invalid UTF-8 .* 14",
        ),
        ("core.yaml", "label: say", 'label: "sa\\ud800"', "core.yaml: icl_tasks.*lone surrogate"),
        ("eval_data/ab/choose.jsonl", "only", "3", "3 examples before each item, but .* only 2"),
        ("eval_meta_data.csv", "resolve,.*", "", "csv: gives no random baseline for task resolve"),
        ("eval_meta_data.csv", "0,1,50", "0,1,", "csv: gives no random baseline for task resolve"),
        ("eval_meta_data.csv", "0,1,50", "0,1,100", "task resolve: random baseline '100' is no"),
        ("eval_meta_data.csv", "#shots", "shots", "has no column '#shots'"),
        ("core.yaml", "schema", "scheme", "core.yaml: icl_tasks.1.icl_task_type"),
        ("core.yaml", "has_categories", "has_prelude", "core.yaml: icl_tasks.2.has_prelude"),
        ("core.yaml", "label: say", "label: choose", "core.yaml: task choose is listed twice"),
    ],
)
def test_bad_bundles_are_refused_by_name(bundle, file, old, new, message):
    path = bundle / file
    if old is None:
        path.unlink()
    elif old == ".*":
        path.write_text("")
    elif old == "only":
        path.write_text("".join(path.read_text().splitlines(keepends=True)[: int(new)]))
    elif old.isdigit():
        lines = path.read_bytes().splitlines()
        lines[int(old) - 1] = new if isinstance(new, bytes) else new.encode()
        path.write_bytes(b"\n".join(lines))
    elif old.endswith(".*"):
        lines = path.read_text().splitlines()
        path.write_text("\n".join(line for line in lines if not line.startswith(old[:-2])))
    else:
        path.write_text(path.read_text().replace(old, new))
    with pytest.raises(BundleError, match=message):
        evaluate_bundle(NOT_ASKED, SimpleNamespace(), read_bundle(bundle))


def test_byte_order_marks_are_dropped(bundle):
    def items():
        return [read_items(task) for task in read_bundle(bundle).tasks]

    wanted = items()
    for path in [file for file in bundle.rglob("*") if file.is_file()]:
        path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert items() == wanted


def test_unknown_and_unscorable_tasks_are_named(bundle):
    with pytest.raises(BundleError, match=r"no task is called 'chose'; did you mean choose\?"):
        read_bundle(bundle, ["chose"])
    with pytest.raises(BundleError, match="task spoken generates its answer"):
        read_bundle(bundle, ["spoken"])
    with pytest.raises(BundleError, match=r"absent.jsonl: missing, but task absent needs it"):
        read_bundle(bundle, ["absent"])
    assert [task.name for task in read_bundle(bundle, ["extra", "extra"]).tasks] == ["extra"]
