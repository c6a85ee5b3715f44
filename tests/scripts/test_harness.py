"""The lm-evaluation-harness's model against our own scorers, on local task files, offline."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("lm_eval", reason="needs the extra `lm-eval`")

from lm_eval.api.instance import Instance

from reasoning.pretraining.evaluation.answers import answer_task
from reasoning.pretraining.evaluation.core_tasks import read_bundle, read_items
from reasoning.pretraining.protocol import SolveBudget
from reasoning.pretraining.tokenizer import ByteTokenizer
from scripts.cli import main
from scripts.exchange import harness_model
from scripts.exchange.harness_model import LoopbenchLM
from scripts.models.lm_models import build_language_model, language_model_config
from scripts.usage import UsageError

CORE = """icl_tasks:
- {label: choose, dataset_uri: ab/choose.jsonl, num_fewshot: [0], icl_task_type: multiple_choice,
   continuation_delimiter: ""}
- {label: refer, dataset_uri: ab/refer.jsonl, num_fewshot: [0], icl_task_type: schema}
- {label: lambada_openai, dataset_uri: ab/say.jsonl, num_fewshot: [0],
   icl_task_type: language_modeling}
"""
META = """Eval Task,Task Category,Task Type,#shots,Random baseline
choose,ab,multiple choice,0,50
refer,ab,schema,0,50
lambada_openai,ab,language modeling,0,0
"""
# The same files as tasks of the harness.
TASKS = {
    "lambada_openai": (
        "say",
        "output_type: loglikelihood\ndoc_to_text: '{{context}}'\n"
        "doc_to_target: ' {{continuation}}'\nmetric_list:\n- {metric: acc}\n",
    ),
    "choose": (
        "choose",
        "output_type: multiple_choice\ndoc_to_text: '{{query}}'\ntarget_delimiter: ''\n"
        "doc_to_choice: choices\ndoc_to_target: gold\nmetric_list:\n- {metric: acc}\n",
    ),
    "refer": (
        "refer",
        "output_type: multiple_choice\ndoc_to_text: gold\ntarget_delimiter: ' '\n"
        "doc_to_choice: context_options\ndoc_to_target: continuation\n"
        "metric_list:\n- {metric: acc}\n",
    ),
}
CONTEXT = 24
WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "and",
    "saw",
    "two",
    "red",
    "birds",
    "far",
    "away",
    "over",
    "old",
    "hills",
]


@pytest.fixture(scope="module")
def model():
    config = language_model_config("attractor-mini").model_copy(update={"context": 64})
    return build_language_model(config, 257, seed=0).eval()


@pytest.fixture
def run(model, monkeypatch):
    """Any run is this model, trained on rows of CONTEXT bytes."""
    config = SimpleNamespace(context=CONTEXT, precision="fp32")
    opened = SimpleNamespace(
        folder="run", model=model, tokenizer=ByteTokenizer(), config=config, step=3
    )
    monkeypatch.setattr(harness_model, "open_language_run", lambda run, device: opened)


@pytest.fixture
def bundle(tmp_path):
    data = tmp_path / "bundle" / "eval_data" / "ab"
    data.mkdir(parents=True)
    (tmp_path / "bundle" / "core.yaml").write_text(CORE)
    (tmp_path / "bundle" / "eval_meta_data.csv").write_text(META)
    rng = np.random.default_rng(0)

    def text(count):
        return " ".join(rng.choice(WORDS, count))

    # Choices of one length that begin apart, contexts that end apart: mean and sum choose alike.
    choose = [
        {"query": f"{i} {text(3)}", "choices": [f"a{i:02}x", f"b{i:02}y"], "gold": i % 2}
        for i in range(10)
    ]
    refer = [
        {
            "context_options": [f"{i} {text(2)} x", f"{i} {text(1)} y"],
            "continuation": text(1),
            "gold": i % 2,
        }
        for i in range(10)
    ]
    say = [{"context": f"{i} {text(1 + i)}", "continuation": text(1)} for i in range(10)]
    for name, records in (("choose", choose), ("refer", refer), ("say", say)):
        (data / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    for task, (file, form) in TASKS.items():
        path = json.dumps({"data_files": {"test": str(data / f"{file}.jsonl")}})
        (tmp_path / f"{task}.yaml").write_text(
            f"task: ours_{task}\ndataset_path: json\ndataset_kwargs: {path}\ntest_split: test\n"
            + form
        )
    return tmp_path


def test_it_agrees_with_our_own_scorers_item_by_item(run, bundle, monkeypatch, capsys):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", bundle / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    names = ",".join(f"ours_{task}" for task in TASKS)
    words = ["lm-eval", "--model_args", "run=run,evaluations=2", "--tasks", names]
    words += ["--include_path", str(bundle), "--output_path", str(bundle / "out"), "--log_samples"]
    assert main(words) == 0  # without --device the harness asks for cuda:0
    (path,) = (bundle / "out").rglob("results_*.json")
    said = json.loads(path.read_text())["config"]
    assert (said["loopbench_step"], said["evaluations"]) == (3, 2)
    assert said["loopbench_device"] == ("cuda" if torch.cuda.is_available() else "cpu")

    scorer = LoopbenchLM("run", evaluations=2, device="cpu").scorer
    for task in read_bundle(bundle / "bundle").tasks:
        items = read_items(task)
        ours = answer_task(scorer, ByteTokenizer(), task, items, 0, len(items))
        assert 0 < ours.cropped.sum() < len(items) or task.name != "lambada_openai"
        (file,) = (bundle / "out").rglob(f"samples_ours_{task.name}_*.jsonl")
        theirs = {}
        for line in file.read_text().splitlines():
            sample = json.loads(line)
            answers = [answer[0] for answer in sample["resps"]]  # [log-likelihood, greedy]
            gold = sample["doc"].get("gold", 0)
            theirs[json.dumps(sample["doc"])] = float(answers[gold][0]), sample["acc"]
        by_options = {options_of(json.loads(doc)): value for doc, value in theirs.items()}
        assert len(by_options) == len(items) == 10
        for item, nll, correct in zip(items, ours.nll, ours.correct, strict=True):
            log_likelihood, right = by_options[item.options]
            assert log_likelihood == pytest.approx(-nll, rel=1e-5)
            assert float(right) == correct


def options_of(doc):
    """Of a line of a task file what our `Item.options` are."""
    if "choices" in doc:
        return tuple((doc["query"], choice) for choice in doc["choices"])
    if "context_options" in doc:
        return tuple((context, doc["continuation"]) for context in doc["context_options"])
    return ((doc["context"], doc["continuation"]),)


def requests(kind, *arguments):
    return [Instance(kind, {}, each, i) for i, each in enumerate(arguments)]


def token_nats(model, ids):
    """Of every token but the first, by the uncached model one prefix at a time."""
    found = []
    with torch.no_grad():
        for i in range(1, len(ids)):
            logits = model(torch.tensor([ids[:i]])).logits[0, -1].double()
            found.append(float(logits.logsumexp(0) - logits[ids[i]]))
    return found


def test_a_rolling_text_counts_every_token_once(run, model):
    lm = LoopbenchLM("run", device="cpu")
    text = "a text of more than twenty-four bytes, in fact of 57 of them"
    short = "abc"
    long_one, short_one, none = lm.loglikelihood_rolling(
        requests("loglikelihood_rolling", (text,), (short,), ("",))
    )
    ids = list(text.encode())
    windows = [[256, *ids[:24]], ids[23:48], ids[-25:]]  # the last is full, and scores the rest
    rest = len(ids) - 48
    expected = [token_nats(model, window) for window in windows]
    total = sum(expected[0]) + sum(expected[1]) + sum(expected[2][-rest:])
    assert long_one == pytest.approx(-total, rel=1e-4)
    assert short_one == pytest.approx(-sum(token_nats(model, [256, *short.encode()])), rel=1e-4)
    assert none == 0


def test_nothing_is_certain_of_an_empty_continuation(run):
    lm = LoopbenchLM("run", device="cpu")
    assert lm.loglikelihood(requests("loglikelihood", ("abc", ""))) == [(0.0, True)]


def test_generation_is_greedy_until_a_stop(run, model):
    lm = LoopbenchLM("run", device="cpu")
    prompts = ["ab", "cd", "a longer prompt than the others that will not fit"]
    said = []
    for text in prompts:
        ids = [256, *text.encode()][-(CONTEXT - 6) :]
        with torch.no_grad():
            for _ in range(6):
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        said.append(ByteTokenizer().decode(ids[-6:]))
    free = {"until": [], "max_gen_toks": 6}
    found = lm.generate_until(requests("generate_until", *((text, free) for text in prompts)))
    assert found == said
    stop = said[1][2]  # a character; what is said before its first place
    stopped = {"until": stop, "max_gen_toks": 6, "do_sample": False}
    found = lm.generate_until(requests("generate_until", *((text, stopped) for text in prompts)))
    assert found == [text.partition(stop)[0] for text in said]


def test_the_budget_is_the_arguments(run, model):
    full, none = LoopbenchLM("run", device="cpu"), LoopbenchLM("run", evaluations=0, device="cpu")
    assert none.scorer.budget == SolveBudget(0, None)
    asked = requests("loglikelihood", ("ab", "c"))
    with torch.no_grad():
        logits = model(torch.tensor([[256, 97, 98]]), SolveBudget(0)).logits[0, -1].log_softmax(-1)
    assert none.loglikelihood(asked)[0][0] == pytest.approx(float(logits[99]), rel=1e-5)
    assert full.loglikelihood(asked) != none.loglikelihood(asked)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"evaluations": -1}, "evaluations=-1: must be a whole number, 0 or more"),
        ({"evaluations": "many"}, "evaluations=many: must be"),
        ({"batch_tokens": 0}, "batch_tokens=0"),
        ({"tolerance": 0.0}, r"tolerance=0\.0"),
        ({"tolerance": "abc"}, "tolerance=abc: must be a number"),
        ({"run": 202401.0}, r"run=202401\.0: the harness took"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(run, given, told):
    with pytest.raises(UsageError, match=told):
        LoopbenchLM(**{"run": "run"} | given)


def test_a_setting_of_generation_that_is_not_known_is_refused(run):
    lm = LoopbenchLM("run", device="cpu")
    asked = requests("generate_until", ("ab", {"until": [], "max_gen_toks": 2, "top_p": 0.5}))
    with pytest.raises(UsageError, match=r"top_p=0\.5: not known"):
        lm.generate_until(asked)
    asked = requests("generate_until", ("ab", {"until": [], "max_gen_toks": CONTEXT}))
    with pytest.raises(UsageError, match=f"leaves no room.*max_gen_toks={CONTEXT // 2}"):
        lm.generate_until(asked)


def test_a_task_that_does_not_say_how_much_gets_half_the_context(run, caplog):
    lm = LoopbenchLM("run", device="cpu")
    silent = requests("generate_until", *((text, {"until": []}) for text in ("ab", "cd")))
    told = {"until": [], "max_gen_toks": CONTEXT // 2}
    asked = requests("generate_until", *((text, told) for text in ("ab", "cd")))
    assert lm.generate_until(silent) == lm.generate_until(asked)
    warnings = [record for record in caplog.records if "does not say" in record.message]
    assert len(warnings) == 1


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("run=lm,evaluation=8", "evaluation: is none of run, evaluations,"),
        ("device=cpu", "run=RUN"),
    ],
)
def test_a_model_argument_that_is_none_is_told(given, told):
    with pytest.raises(UsageError, match=told):
        LoopbenchLM.create_from_arg_string(given)
    pairs = dict(pair.split("=") for pair in given.split(","))
    with pytest.raises(UsageError, match=told):
        LoopbenchLM.create_from_arg_obj(pairs, {"batch_size": 1})
