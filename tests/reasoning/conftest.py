"""A small CORE bundle: four tasks of all types, and what CORE-Extended has and lacks."""

import json
import random

import pytest
import yaml

ENTRIES = [
    {
        "label": "choose",
        "dataset_uri": "ab/choose.jsonl",
        "num_fewshot": [3],
        "icl_task_type": "multiple_choice",
        "continuation_delimiter": "\nAnswer: ",
    },
    {
        "label": "resolve",
        "dataset_uri": "ab/resolve.jsonl",
        "num_fewshot": [1],
        "icl_task_type": "schema",
    },
    {
        "label": "say",
        "dataset_uri": "ab/say.jsonl",
        "num_fewshot": [2],
        "icl_task_type": "language_modeling",
        "has_categories": True,
    },
    {
        "label": "lambada_openai",
        "dataset_uri": "ab/lambada.jsonl",
        "num_fewshot": [0],
        "icl_task_type": "language_modeling",
    },
]
BASELINES = {"choose": 25, "resolve": 50, "say": 0, "lambada_openai": 0}
META = "Eval Task,Task Category,Task Type,#shots,#datapoints,Random baseline\n"
FURTHER = (
    "extra,far off,multiple choice,1,9,33.3\n"
    "absent,far off,multiple choice,0,9,50\nspoken,far off,question answering,3,9,0\n"
)


def words(rng, least, most):
    letters = [rng.choice("aabb  c\u00e9") for _ in range(rng.randint(least, most))]
    return "".join(letters).strip() or "b"


def write_lines(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")


def choice_item(rng, count):
    choices = [words(rng, 1, 9) for _ in range(count)]
    if rng.random() < 0.3:
        choices[1] = choices[0] + words(rng, 1, 4)  # one begins the other
    return {"query": words(rng, 5, 30), "choices": choices, "gold": rng.randrange(count)}


@pytest.fixture
def bundle(tmp_path):
    rng = random.Random(0)
    folder = tmp_path / "bundle"
    data = folder / "eval_data" / "ab"
    write_lines(data / "choose.jsonl", [choice_item(rng, rng.choice([2, 4])) for _ in range(40)])
    write_lines(
        data / "resolve.jsonl",
        [
            {
                "context_options": [words(rng, 3, 12), words(rng, 3, 12)],
                "continuation": words(rng, 1, 12),
                "gold": rng.randrange(2),
            }
            for _ in range(30)
        ],
    )
    for name, count in (("say", 50), ("lambada", 35)):
        record = [
            {"context": f" {words(rng, 3, 25)}\n ", "continuation": rng.choice(["a", "b", "aa"])}
            for _ in range(count)
        ]
        write_lines(data / f"{name}.jsonl", record)
    write_lines(folder / "eval_data/far_off/extra.jsonl", [choice_item(rng, 3) for _ in range(9)])
    (folder / "core.yaml").write_text(yaml.safe_dump({"icl_tasks": ENTRIES}))
    rows = "".join(f"{name},ab,x,0,1,{value}\n" for name, value in BASELINES.items())
    (folder / "eval_meta_data.csv").write_text(META + rows + FURTHER)
    return folder
