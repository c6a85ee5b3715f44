"""CORE tasks against an evaluator that follows the rules one item at a time."""

import json
import os
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import nn

from reasoning.pretraining.evaluation import answers as answering
from reasoning.pretraining.evaluation.answers import answer_task, crop, mark_tokens
from reasoning.pretraining.evaluation.core import evaluate_bundle
from reasoning.pretraining.evaluation.core_tasks import read_bundle, read_items
from reasoning.pretraining.evaluation.likelihood import Scorer
from reasoning.pretraining.protocol import LMOutput
from reasoning.training.distribution import World, leave_world

ALONE = World(0, 1, torch.device("cpu"))
SEED = 1234


class Table(nn.Module):
    """A fixed random table over the whole prefix, leaning to the `likely` tokens."""

    def __init__(self, vocabulary, context, fail_after=None, likely=tuple(b" ab")):
        super().__init__()
        self.vocabulary, self.context, self.left = vocabulary, context, fail_after
        generator = torch.Generator().manual_seed(0)
        self.table = torch.randn(61, vocabulary, generator=generator)
        self.table[:, list(likely)] += 5.0

    def forward(self, tokens, budget=None, seeds=None, cache=None):
        if tokens.shape[1] > self.context:
            raise ValueError("longer than the context")
        if self.left is not None:
            if self.left == 0:
                raise InterruptedError("killed")
            self.left -= 1
        places = torch.arange(tokens.shape[1]) + 1
        return LMOutput(self.table[((tokens + 1) * places).cumsum(1) % 61])


class Bytes:
    bos, vocabulary, identity = 256, 257, "bytes"

    def encode(self, texts):
        return [list(text.encode()) for text in texts]


class Merges:
    """A byte-level BPE that keeps no words apart: a token may span a prompt's end."""

    bos = 400

    def __init__(self, texts):
        self.inner = Tokenizer(models.BPE())
        self.inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=400, initial_alphabet=alphabet, show_progress=False
        )
        self.inner.train_from_iterator(texts, trainer)

    def encode(self, texts):
        return [self.inner.encode(text).ids for text in texts]


# --- An evaluator written from the rules alone ---------------------------------------------------


def straight_line(model, tokenizer, entry, file, index, seed=SEED):
    """(correct, nll of the right answer) of one item."""
    data = [json.loads(line) for line in Path(file).read_text(encoding="utf-8").split("\n") if line]
    random.Random(1337).shuffle(data)
    others = [data[j] for j in range(len(data)) if j != index]
    examples = random.Random(seed + index).sample(others, entry["num_fewshot"][0])
    gap = entry.get("continuation_delimiter", " ")
    item, kind = data[index], entry["icl_task_type"]
    head = ""
    for e in examples:
        if kind == "multiple_choice":
            head += e["query"] + gap + e["choices"][e["gold"]] + "\n\n"
        elif kind == "schema":
            head += e["context_options"][e["gold"]] + gap + e["continuation"] + "\n\n"
        else:
            head += e["context"].strip() + gap + e["continuation"] + "\n\n"
    if kind == "language_modeling":
        without = head + item["context"].strip() + gap
        whole = encode(tokenizer, without + item["continuation"])
        prompt = encode(tokenizer, without.strip())
        start = same_until(prompt, whole)
        nll, _, greedy = run(model, whole, min(start, len(whole) - 1))
        return greedy, nll
    if kind == "multiple_choice":
        texts = [head + item["query"] + gap + choice for choice in item["choices"]]
        sequences = [encode(tokenizer, text) for text in texts]
        start = min(same_until(sequences[0], other) for other in sequences[1:])
        if any(len(s) == start for s in sequences):
            start -= 1  # every choice keeps a token
        starts = [start for _ in sequences]
    else:
        texts = [head + c + gap + item["continuation"] for c in item["context_options"]]
        sequences = [encode(tokenizer, text) for text in texts]
        shared = max(1, min(same_until(sequences[0][::-1], s[::-1]) for s in sequences[1:]))
        starts = [len(s) - shared for s in sequences]
    results = [run(model, s, a) for s, a in zip(sequences, starts, strict=True)]
    means = [mean for _, mean, _ in results]
    return means.index(min(means)) == item["gold"], results[item["gold"]][0]


def encode(tokenizer, text):
    return [tokenizer.bos, *tokenizer.encode([text])[0]]


def same_until(one, other):
    place = 0
    while place < min(len(one), len(other)) and one[place] == other[place]:
        place += 1
    return place


def run(model, tokens, start):
    """Summed nll, mean nll and greediness of tokens[start:], in the last `context` tokens."""
    while len(tokens) > model.context:
        tokens, start = tokens[1:], start - 1
    logits = model.eval()(torch.tensor([tokens])).logits[0]
    nll, greedy = [], True
    for place in range(max(start, 1), len(tokens)):
        nll.append(-float(logits[place - 1].log_softmax(0)[tokens[place]]))
        greedy = greedy and int(logits[place - 1].argmax()) == tokens[place]
    return sum(nll), sum(nll) / len(nll), greedy


# --- The module against it -----------------------------------------------------------------------

BASELINES = {"choose": 25, "resolve": 50, "say": 0, "lambada_openai": 0}  # percent


def read_entries(folder):
    return yaml.safe_load((folder / "core.yaml").read_text())["icl_tasks"]


def tokenizers_for(folder):
    texts = [path.read_text(encoding="utf-8") for path in folder.glob("eval_data/**/*.jsonl")]
    return Bytes(), Merges(texts)


def common_endings(tokenizer, folder):
    """Tokens that often end a text, so that a model that leans to them is right now and then."""
    items = read_items(read_bundle(folder, ["say"]).tasks[0])
    ends = [ids[-2:] for ids in tokenizer.encode([" ".join(i.options[0]) for i in items])]
    return [token for token, _ in Counter(t for end in ends for t in end).most_common(5)]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("context", [4, 24, 4096])
def test_every_item_as_the_rules_have_it(bundle, which, context):
    tokenizer = tokenizers_for(bundle)[which]
    likely = common_endings(tokenizer, bundle)
    model = Table(401, context, likely=likely)
    outcomes, cropped, irregular = [], 0, 0
    for task, entry in zip(read_bundle(bundle).tasks, read_entries(bundle), strict=True):
        items = read_items(task)
        got = answer_task(Scorer(model, ALONE), tokenizer, task, items, SEED, len(items))
        expected = [straight_line(model, tokenizer, entry, task.file, i) for i in range(len(items))]
        assert got.correct.tolist() == [correct for correct, _ in expected]
        np.testing.assert_allclose(got.nll, [nll for _, nll in expected], rtol=1e-5)
        outcomes.append(got.correct.mean())
        cropped += got.cropped.sum()
        irregular += got.irregular.sum()
    assert 0 < min(outcomes) < max(outcomes) < 1
    assert bool(cropped) == (context < 4096)
    assert irregular > 0


def test_few_shot_seeds_change_the_examples_and_nothing_else(bundle):
    model, tokenizer = Table(257, 4096), Bytes()
    task = read_bundle(bundle, ["choose"]).tasks[0]
    items = read_items(task)
    entry = read_entries(bundle)[0]
    for seed in (2345, 3456):
        got = answer_task(Scorer(model, ALONE), tokenizer, task, items, seed, 10)
        want = [straight_line(model, tokenizer, entry, task.file, i, seed) for i in range(10)]
        assert got.correct.tolist() == [correct for correct, _ in want]
        np.testing.assert_allclose(got.nll, [nll for _, nll in want], rtol=1e-5)


def test_core_by_hand(bundle):
    seeds = (1234, 2345, 3456)
    model, tokenizer = Table(257, 4096), Bytes()
    scores = evaluate_bundle(Scorer(model, ALONE), tokenizer, read_bundle(bundle), seeds)
    by_seed = []
    for seed in seeds:
        total = 0.0
        for entry in read_entries(bundle):
            file = bundle / "eval_data" / entry["dataset_uri"]
            count = len(file.read_text(encoding="utf-8").splitlines())
            right = [straight_line(model, tokenizer, entry, file, i, seed)[0] for i in range(count)]
            guess = BASELINES[entry["label"]] / 100
            total += (np.mean(right) - guess) / (1 - guess)
        by_seed.append(100 * total / 4)
    assert list(scores.core.by_seed.values()) == pytest.approx(by_seed)
    assert scores.core.score == pytest.approx(np.mean(by_seed))
    assert scores.core.spread == pytest.approx(np.std(by_seed, ddof=1))
    assert scores.core.spread > 0
    assert scores.lambada.n == 35
    errors = [s.stderr / (1 - s.baseline) for s in scores.tasks]
    assert scores.core.stderr == pytest.approx(100 * np.sqrt(np.sum(np.square(errors))) / 4)
    say = scores.tasks[2]
    single = evaluate_bundle(Scorer(model, ALONE), tokenizer, read_bundle(bundle, ["say"]))
    p = single.tasks[0].accuracy
    assert single.tasks[0].stderr == pytest.approx(np.sqrt(p * (1 - p) / 49))
    assert say.accuracy_by_seed[1234] == p
    assert single.core is None  # not every task


def test_extended_lists_what_it_lacks(bundle):
    read = read_bundle(bundle, extended=True)
    assert [task.name for task in read.tasks] == [*BASELINES, "extra"]
    assert read.missing == {
        "absent": "no file eval_data/far_off/absent.jsonl",
        "spoken": "generates its answer: not scored by likelihood",
    }
    scores = evaluate_bundle(Scorer(Table(257, 99), ALONE), Bytes(), read, extended=True)
    assert (scores.core.tasks, scores.extended.tasks) == (4, 5)
    assert scores.missing == read.missing
    assert scores.tasks[-1].baseline == pytest.approx(0.333)
    expected = 100 * np.mean([s.centered for s in scores.tasks])
    assert scores.extended.score == pytest.approx(expected)


def test_a_killed_evaluation_goes_on_to_the_same_scores(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(answering, "_CHUNK", 8)
    unbroken = evaluate_bundle(Scorer(Table(257, 50), ALONE), Bytes(), read_bundle(bundle))
    folder = tmp_path / "answers"
    folder.mkdir()
    kills = 0
    while True:
        model = Table(257, 50, fail_after=7)
        try:
            broken = evaluate_bundle(
                Scorer(model, ALONE), Bytes(), read_bundle(bundle), folder=folder
            )
            break
        except InterruptedError:
            kills += 1
    assert kills > 1
    assert broken == unbroken
    model = Table(257, 50, fail_after=0)  # nothing is left to run
    done = evaluate_bundle(Scorer(model, ALONE), Bytes(), read_bundle(bundle), folder=folder)
    assert done == unbroken


def test_a_limit_scores_the_first_items_of_the_full_run(bundle, tmp_path):
    full = Table(257, 50)
    task = read_bundle(bundle, ["say"]).tasks[0]
    items = read_items(task)
    whole = answer_task(Scorer(full, ALONE), Bytes(), task, items, SEED, 50)
    place = tmp_path / "say.json"
    for count in (5, 20, 7):  # longer, then shorter than what is known
        part = answer_task(Scorer(full, ALONE), Bytes(), task, items, SEED, count, place)
        np.testing.assert_array_equal(part.nll, whole.nll[:count])


def test_answers_to_other_data_are_not_gone_on_from(bundle, tmp_path):
    place = tmp_path / "say.json"
    task = read_bundle(bundle, ["say"]).tasks[0]
    ask = (Scorer(Table(257, 50), ALONE), Bytes(), task)
    answer_task(*ask, read_items(task), SEED, 5, place)
    with pytest.raises(ValueError, match=r"say.json: holds answers for seed 1234.*delete"):
        answer_task(*ask, read_items(task), 99, 5, place)
    task.file.write_text('{"context": "a", "continuation": "b"}\n' * 9)
    with pytest.raises(ValueError, match=r"say.json: holds answers for file .*delete"):
        answer_task(*ask, read_items(task), SEED, 5, place)
    place.write_text("{")
    with pytest.raises(ValueError, match=r"say.json: not readable"):
        answer_task(*ask, read_items(task), SEED, 5, place)


def _process(rank, port, folder, out):
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    answering._CHUNK = 9  # parts of unlike size on the two
    world = World(rank, 2, torch.device("cpu"))
    read = read_bundle(Path(folder))
    kept = Path(out)
    scores = evaluate_bundle(Scorer(Table(257, 50), world), Bytes(), read, folder=kept, limit=20)
    torch.save(scores, kept / f"{rank}.pt")
    dist.barrier()
    scores = evaluate_bundle(Scorer(Table(257, 50), world), Bytes(), read, folder=kept)
    torch.save(scores, kept / f"full{rank}.pt")
    leave_world()


def test_two_processes_share_the_items_and_agree(bundle, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    port = random.randrange(20000, 60000)
    mp.spawn(_process, args=(port, str(bundle), str(out)), nprocs=2)
    read = read_bundle(bundle)
    for name, limit in (("", 20), ("full", 0)):
        alone = evaluate_bundle(Scorer(Table(257, 50), ALONE), Bytes(), read, limit=limit)
        for rank in (0, 1):
            assert torch.load(out / f"{name}{rank}.pt", weights_only=False) == alone


@pytest.mark.parametrize(
    ("kind", "sequences", "starts", "irregular"),
    [
        ("multiple_choice", [[9, 1, 2], [9, 1, 3, 3]], [2, 2], False),
        ("multiple_choice", [[9, 1, 2], [9, 1, 2, 3]], [2, 2], True),
        ("schema", [[9, 1, 5, 6], [9, 2, 2, 5, 6]], [2, 3], False),
        ("schema", [[9, 1, 5], [9, 1, 6]], [2, 2], True),
        ("language_modeling", [[9, 1], [9, 1, 4]], [2], False),
        ("language_modeling", [[9, 1, 2], [9, 1, 4]], [2], True),
    ],
)
def test_marks_what_counts_also_where_the_rules_leave_no_token(kind, sequences, starts, irregular):
    whole, got, flag = mark_tokens(kind, [np.array(sequence) for sequence in sequences])
    assert [w.tolist() for w in whole] == sequences[-len(starts) :]
    assert (got, flag) == (starts, irregular)


def test_of_a_continuation_longer_than_the_context_what_is_left_counts():
    span = crop(np.array([9, 1, 2, 3, 4, 5]), 2, 3)
    assert (span.tokens.tolist(), span.start) == ([3, 4, 5], 1)


@pytest.mark.parametrize("context", [256, 8192])
def test_every_published_task_as_the_rules_have_it(shared_data, context):
    folder = shared_data / "data" / "core"
    entries = read_entries(folder)
    tasks = read_bundle(folder).tasks
    assert len(tasks) == 22
    model = Table(257, context)
    for task, entry in zip(tasks, entries, strict=True):
        items = read_items(task)
        got = answer_task(Scorer(model, ALONE), Bytes(), task, items, SEED, 2)
        want = [straight_line(model, Bytes(), entry, task.file, i) for i in range(2)]
        assert got.correct.tolist() == [correct for correct, _ in want], task.name
        np.testing.assert_allclose(got.nll, [nll for _, nll in want], rtol=1e-5)


def test_the_published_bundle_lacks_what_it_lacks(shared_data):
    read = read_bundle(shared_data / "data" / "core", extended=True)
    assert len(read.tasks) == 42
    assert len(read.missing) == 11
    assert {"mmlu_fewshot", "bbq", "gsm8k_cot"} < set(read.missing)
