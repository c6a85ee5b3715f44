"""What a model of one's own does wrong is told by name before its run begins."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from reasoning.errors import InputError
from reasoning.pretraining.config import PretrainingConfig
from reasoning.pretraining.protocol import Cost, LMOutput
from reasoning.pretraining.rehearsal import rehearse as rehearse_language
from reasoning.supervision import Batch, SegmentOutput
from reasoning.training.config import TrainingConfig
from reasoning.training.rehearsal import rehearse

CELLS, TOKENS, WIDTH, VOCABULARY = 5, 4, 3, 11
BATCH = Batch(
    torch.randint(0, TOKENS, (2, CELLS)),
    torch.randint(0, TOKENS, (2, CELLS)),
    torch.zeros(2).long(),
)


class Own(nn.Module):
    """One linear layer on what came before and the question."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(TOKENS, WIDTH)
        self.mix, self.out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, TOKENS)
        self.halt = nn.Linear(WIDTH, 2)

    def initial_state(self, batch, seeds=None):
        return (torch.zeros(batch, CELLS, WIDTH),)

    def segment(self, state, inputs, puzzle_ids, depth, seeds=None):
        y = torch.tanh(self.mix(state[0] + self.tokens(inputs)))
        return SegmentOutput((y.detach(),), *self.decode(y), torch.ones(len(y)))

    def decode(self, y):
        return self.out(y), self.halt(y.mean(1))


def tried(model) -> list[str]:
    return rehearse(model, TrainingConfig(steps=4, batch=2, device="cpu"), BATCH, TOKENS)


def own(**methods) -> Own:
    return type("Own", (Own,), methods)()


def changed(**fields):
    """A segment whose output has other fields, each of the old one."""

    def segment(self, *args):
        output = Own.segment(self, *args)
        return replace(output, **{name: of(output) for name, of in fields.items()})

    return segment


def test_a_model_that_keeps_the_protocol_is_left_as_it_was():
    model = Own()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    drawn = torch.get_rng_state()
    assert tried(model) == []
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(drawn, torch.get_rng_state())


def test_wide_logits_and_tokens_that_are_ruled_out_pass():
    def ruled_out(output):
        return output.logits.index_fill(-1, torch.tensor([0]), float("-inf"))

    assert tried(own(segment=changed(logits=lambda o: o.logits.double()))) == []
    assert tried(own(segment=changed(own_loss=lambda o: o.q[:, 0].exp()))) == []
    loss = TrainingConfig(steps=4, batch=2, device="cpu", loss={"cells": "softmax"})
    batch = replace(BATCH, labels=BATCH.labels.clamp(1))
    assert rehearse(own(segment=changed(logits=ruled_out)), loss, batch, TOKENS) == []


def test_parameters_without_a_gradient_are_named():
    class Detached(Own):
        def decode(self, y):
            return super().decode(y.detach())

    assert tried(Detached()) == ["tokens.weight", "mix.weight", "mix.bias"]


def test_what_a_micro_batch_of_one_breaks_is_told():
    class Normed(Own):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(WIDTH)

        def decode(self, y):
            return self.out(y), self.halt(self.norm(y.mean(1)))

    assert tried(Normed()) == []
    config = TrainingConfig(steps=4, batch=33, micro_batch=32, device="cpu")
    with pytest.raises(InputError, match="as a micro-batch of 1 gives it"):
        rehearse(Normed(), config, BATCH, TOKENS)  # 32 puzzles, and one that is left
    alone = TrainingConfig(steps=4, batch=2, micro_batch=1, device="cpu")
    with pytest.raises(InputError, match=r"Normed: segment of one puzzle.*more than 1 value"):
        rehearse(Normed(), alone, BATCH, TOKENS)


@pytest.mark.parametrize(
    ("methods", "part"),
    [
        ({"segment": changed(logits=lambda o: o.logits.mT)}, r"logits .* shape \(2, 4, 5\)"),
        ({"segment": changed(logits=lambda o: o.logits[:, 1:])}, r"expected \(2, 5, 4\)"),
        ({"segment": changed(logits=lambda o: o.logits.bfloat16())}, "is of torch.bfloat16"),
        ({"segment": changed(logits=lambda o: o.logits / 0)}, "NaN or infinity"),
        ({"segment": changed(q=lambda o: o.q[:, :1])}, r"q \(B, 2\) has shape \(2, 1\)"),
        ({"segment": changed(net_calls=lambda o: 1)}, "net_calls .* is of int"),
        ({"segment": changed(net_calls=lambda o: o.net_calls[0])}, r"has shape \(\)"),
        ({"segment": changed(own_loss=lambda o: o.q.sum())}, r"own_loss \(B,\) has shape \(\)"),
        ({"segment": changed(own_loss=lambda o: torch.ones(2))}, "own_loss carries no gradient"),
        ({"segment": changed(own_loss=lambda o: torch.ones(2).long())}, "own_loss is of torch.int"),
        ({"segment": changed(own_loss=lambda o: o.q[:, 0] / 0)}, "or not finite"),
        ({"segment": changed(state=lambda o: o.state * 2)}, "2 tensors, initial_state's 1"),
        ({"segment": changed(state=lambda o: (o.state[0][:1],))}, "for a batch of 2"),
        ({"segment": changed(state=lambda o: (o.logits,))}, r"state\[0\] has shape"),
        ({"segment": changed(state=lambda o: list(o.state))}, "no tuple of tensors"),
        ({"segment": changed(diagnostics=lambda o: {"a": o.q})}, r"diagnostics\['a'\]"),
        ({"segment": changed(diagnostics=lambda o: {"loss": o.net_calls})}, "loss is a metric's"),
        ({"segment": lambda self, *args: (1, 2)}, "returns tuple, not a SegmentOutput"),
        ({"segment": lambda self, state: state}, "segment fails .*TypeError.*positional"),
        ({"segment": lambda self, *args: 1 / 0}, r"ZeroDivisionError.*test_rehearsal\.py:\d+"),
        ({"initial_state": lambda self, *args: torch.zeros(2)}, "no tuple of tensors"),
        ({"initial_state": lambda self, *args: (torch.zeros(1, 5, 3),)}, "for a batch of 2"),
        ({"parameters": lambda self, recurse=True: iter(())}, "has no parameters to train"),
    ],
)
def test_what_training_cannot_use_is_told(methods, part):
    with pytest.raises(InputError, match=rf"test_rehearsal:\w+: .*{part}|{part}"):
        tried(own(**methods))


def test_a_model_that_cannot_be_copied_is_told():
    model = Own()
    model.scale = 2 * nn.Parameter(torch.ones(1))  # no leaf, as old weight_norm leaves one
    with pytest.raises(InputError, match=r"Own: a copy of the model.*deepcopy"):
        tried(model)


def test_what_a_segment_takes_from_elsewhere_than_its_arguments_is_told():
    class Keeps(Own):
        h = 0.0

        def decode(self, y):
            self.h = self.h + y.detach().mean()
            return self.out(y + self.h), self.halt(y.mean(1))

    class Mixes(Own):
        def decode(self, y):
            return self.out(y + y.sum(0)), self.halt(y.mean(1))

    class Draws(Own):
        def decode(self, y):
            return self.out(y) + torch.randn(1), self.halt(y.mean(1))

    with pytest.raises(InputError, match=r"two answers; .* belongs in the state"):
        tried(Keeps())
    with pytest.raises(InputError, match="changes with another puzzle in its batch"):
        tried(Mixes())
    assert tried(Draws()) == []


def test_a_diagnostic_keeps_its_meaning_whatever_its_name():
    for name in ("loss", "finished_ponder"):
        with pytest.raises(InputError, match=f"diagnostics: {name}"):
            tried(own(segment=changed(diagnostics=lambda o, n=name: {n: o.net_calls})))


def test_a_state_that_carries_a_graph_is_told():
    class Kept(Own):
        def segment(self, state, inputs, puzzle_ids, depth, seeds=None):
            y = torch.tanh(self.mix(state[0] + self.tokens(inputs)))
            return SegmentOutput((y,), *self.decode(y), torch.ones(len(y)))

    with pytest.raises(InputError, match=r"state\[0\] carries a graph: detach it"):
        tried(Kept())


# Language


class Sums(nn.Module):
    """The tokens so far, summed."""

    vocabulary, context = VOCABULARY, 8

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, VOCABULARY)

    def forward(self, tokens, budget=None, seeds=None, cache=None):
        sums = self.embedding(tokens).cumsum(1)
        if cache is not None:
            sums = sums + cache.get("sum", 0)
            cache["sum"] = sums[:, -1:]
        return LMOutput(sums)

    def new_cache(self, kind="trajectory"):
        return {}

    def cost(self):
        size = VOCABULARY**2
        return Cost(size, size, 0, once=0, once_layers=0, core=0, core_layers=0, width=VOCABULARY)


def spoken(model) -> None:
    config = PretrainingConfig(steps=4, context=8, batch=2, lanes=2, device="cpu")
    rehearse_language(model, config, VOCABULARY, torch.device("cpu"))


def test_a_language_model_that_keeps_the_protocol_passes():
    class NoCache(Sums):
        def new_cache(self, kind="trajectory"):
            raise NotImplementedError

    class RuledOut(Sums):
        def forward(self, *args, **more):
            logits = super().forward(*args, **more).logits
            return LMOutput(logits.index_fill(-1, torch.tensor([0]), float("-inf")))

    class LastOnly(Sums):
        def forward(self, tokens, *args, cache=None):
            logits = super().forward(tokens, cache=cache).logits
            return LMOutput(logits if cache is None else logits[:, -1:])

    class Noisy(Sums):
        def forward(self, *args, **more):
            logits = super().forward(*args, **more).logits
            return LMOutput(logits + torch.randn(logits.shape[-1]))

    class Short(Sums):
        context = 1

    for kind in (Sums, NoCache, RuledOut, LastOnly, Noisy):
        spoken(kind())
    spoken(Sums().double())
    config = PretrainingConfig(steps=4, context=1, batch=2, lanes=2, device="cpu")
    rehearse_language(Short(), config, VOCABULARY, torch.device("cpu"))


def test_a_core_whose_evaluations_are_not_reported_is_told():
    class Looped(Sums):
        def cost(self):
            return replace(super().cost(), core=12)

    class Told(Looped):
        def forward(self, tokens, *args, **more):
            made = torch.full(tokens.shape, 2.0)
            return LMOutput(super().forward(tokens, *args, **more).logits, {"evaluations": made})

    with pytest.raises(InputError, match=r"counts a core, but forward reports no diagnostics"):
        spoken(Looped())
    spoken(Told())


def test_a_language_model_that_is_asked_twice_says_the_same():
    class Counting(Sums):
        calls = 0

        def forward(self, *args, **more):
            self.calls += 1
            return LMOutput(super().forward(*args, **more).logits * self.calls)

    with pytest.raises(InputError, match="asked twice in eval mode it gives two answers"):
        spoken(Counting())


@pytest.mark.parametrize(
    ("forward", "part"),
    [
        (lambda o, tokens: LMOutput(o.logits.flip(1)), "another token that comes later"),
        (
            lambda o, tokens: LMOutput(o.logits + o.logits.mean(1, True)),
            "another token that comes later",
        ),
        (lambda o, tokens: o.logits, "forward returns Tensor, not an LMOutput"),
        (lambda o, tokens: LMOutput(o.logits[..., 1:]), r"expected \(2, 8, 11\)"),
        (lambda o, tokens: LMOutput(o.logits.half()), "is of torch.float16"),
        (lambda o, tokens: LMOutput(o.logits / 0), "NaN or infinity"),
        (lambda o, tokens: LMOutput(o.logits, {"a": tokens[0]}), r"diagnostics\['a'\]"),
    ],
)
def test_what_would_flatter_a_language_model_is_told(forward, part):
    def other(self, tokens, budget=None, seeds=None, cache=None):
        return forward(Sums.forward(self, tokens, budget, seeds, cache), tokens)

    with pytest.raises(InputError, match=part):
        spoken(type("Sums", (Sums,), {"forward": other})())


def test_a_cache_that_is_ignored_is_told():
    def without(self, tokens, budget=None, seeds=None, cache=None):
        return Sums.forward(self, tokens)

    with pytest.raises(InputError, match="from its cache it says other logits"):
        spoken(type("Sums", (Sums,), {"forward": without})())
    nameless = Sums()
    nameless.context = None
    with pytest.raises(InputError, match="has no number `context`"):
        spoken(nameless)
