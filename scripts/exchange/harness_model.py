"""The lm-evaluation-harness's model `loopbench`: a pretraining run, scored as our own scorers do.

    loglikelihood           nats of a continuation's tokens, and whether each is the most likely one
    loglikelihood_rolling   nats of a whole text, in windows that each hold BOS or one earlier token
    generate_until          the likeliest tokens (or drawn ones), until a stop or BOS

BOS comes first; a sequence longer than the run's context loses its beginning, as in
reasoning.pretraining.evaluation.answers. Rows are run in order of their length, as many at once as
`batch_tokens` holds: the harness's own batch size is not used.
"""

import inspect
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import (
    get_rolling_token_windows,
    make_disjoint_window,
    simple_parse_args_string,
)

from reasoning.pretraining.evaluation.answers import crop, mark_tokens
from reasoning.pretraining.evaluation.likelihood import BATCH_TOKENS, Scorer, Span
from reasoning.pretraining.generation import Sampling, generate
from reasoning.pretraining.protocol import SolveBudget
from reasoning.training.distribution import World, choose_device
from scripts.runs.lm_session import open_language_run
from scripts.usage import UsageError

_LOG = logging.getLogger(__name__)
_GENERATION = {"until", "max_gen_toks", "do_sample", "temperature", "top_k", "seed"}
_LENGTHS = {"max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens"}
_LENGTH = 256  # tokens that the harness asks for where a task does not say


@register_model("loopbench")
class LoopbenchLM(LM):
    """A run's latest weights.

    run: its folder; evaluations: most evaluations of the map per token (Parcae: steps), None: the
    run's own; tolerance: relative residual at which a token stops, None: the run's own;
    batch_tokens: tokens of one forward pass; device: auto, cpu or cuda. UsageError or RunError for
    values and folders that cannot be used. batch_size and max_batch_size are the harness's.
    """

    def __init__(
        self,
        run: str,
        evaluations: int | None = None,
        tolerance: float | None = None,
        batch_tokens: int = BATCH_TOKENS,
        device: str | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
    ):
        super().__init__()
        for name, value, least in (
            ("evaluations", evaluations, 0),
            ("batch_tokens", batch_tokens, 1),
        ):
            whole = isinstance(value, int) and not isinstance(value, bool)
            if value is not None and not (whole and value >= least):
                raise UsageError(f"{name}={value}: must be a whole number, {least} or more")
        if tolerance is not None and not (isinstance(tolerance, int | float) and tolerance > 0):
            raise UsageError(f"tolerance={tolerance}: must be a number above 0")
        if not isinstance(run, str):
            raise UsageError(
                f"run={run}: the harness took the folder's name for a number; quote it, "
                f"run='...', or write ./ before it"
            )
        place = _place(device)
        self.opened = open_language_run(Path(run), place)
        self.scorer = Scorer(
            self.opened.model,
            World(0, 1, place),
            SolveBudget(evaluations, tolerance),
            self.opened.config.precision,
            batch_tokens,
            context=self.opened.config.context,
        )
        self._device = place
        self._told = False

    @classmethod
    def create_from_arg_string(
        cls, arg_string: str, additional_config: dict[str, Any] | None = None
    ) -> "LoopbenchLM":
        return cls.create_from_arg_obj(simple_parse_args_string(arg_string), additional_config)

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: dict[str, Any], additional_config: dict[str, Any] | None = None
    ) -> "LoopbenchLM":
        """Of the harness's --model_args; UsageError for a name that is none of them."""
        known = [name for name in inspect.signature(cls.__init__).parameters if name != "self"]
        for name in arg_dict:
            if name not in known:
                raise UsageError(f"--model_args: {name}: is none of {', '.join(known)}")
        if "run" not in arg_dict:
            raise UsageError("--model_args: name the run: run=RUN")
        return super().create_from_arg_obj(arg_dict, additional_config)

    @property
    def tokenizer_name(self) -> str:
        """Tells the harness's caches of requests apart."""
        return f"loopbench-{self.opened.tokenizer.identity}"

    def get_model_info(self) -> dict[str, Any]:
        """What the harness keeps beside its results."""
        budget = self.scorer.budget
        return {
            "loopbench_run": str(self.opened.folder),
            "loopbench_step": self.opened.step,
            "evaluations": budget.max_evaluations,
            "tolerance": budget.tolerance,
            "loopbench_device": str(self.device),
        }

    def _encode(self, texts: list[str]) -> list[np.ndarray]:
        bos = self.opened.tokenizer.bos
        return [
            np.array([bos, *ids], dtype=np.int64) for ids in self.opened.tokenizer.encode(texts)
        ]

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Of every request (context, continuation); nothing is certain of an empty continuation."""
        asked = [request.args for request in requests]
        prompts = self._encode([context for context, _ in asked])
        wholes = self._encode([context + continuation for context, continuation in asked])
        answers: list[tuple[float, bool]] = [(0.0, True)] * len(asked)
        places = [i for i, (_, continuation) in enumerate(asked) if continuation]
        spans = []
        for i in places:
            (whole,), (start,), _ = mark_tokens("language_modeling", [prompts[i], wholes[i]])
            spans.append(crop(whole, start, self.scorer.longest))
        scores = self.scorer.spans(spans)
        for i, nll, greedy in zip(places, scores.nll, scores.greedy, strict=True):
            answers[i] = (-float(nll), bool(greedy))
        for args, answer in zip(asked, answers, strict=True):
            self.cache_hook.add_partial("loglikelihood", args, answer)
        return answers

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Of every request (text,)."""
        spans: list[Span] = []
        owners: list[int] = []
        bos, longest = self.opened.tokenizer.bos, self.scorer.longest
        texts = [request.args[0] for request in requests]
        for i, ids in enumerate(self.opened.tokenizer.encode(texts)):
            for window in get_rolling_token_windows(ids, bos, longest, 1):
                context, scored = make_disjoint_window(window)
                spans.append(Span(np.array([*context, *scored], dtype=np.int64), len(context)))
                owners.append(i)
        totals = -np.bincount(owners, self.scorer.spans(spans).nll, len(texts))
        for request, value in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, float(value))
        return totals.tolist()

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Of every request (context, settings) what is said before the first stop."""
        groups: dict[tuple, list[int]] = {}
        prompts, settings = [], []
        for i, request in enumerate(requests):
            context, given = request.args
            asked = self._settings(given)
            room = self.scorer.longest - asked["max_gen_toks"]
            prompts.append(self._encode([context])[0][-room:])
            settings.append(asked)
            # Drawn tokens depend on a row's place in its batch: each is drawn alone.
            alone = i if asked["temperature"] else -1
            key = (len(prompts[i]), alone, asked["max_gen_toks"])
            groups.setdefault(key, []).append(i)
        texts = [""] * len(requests)
        for (length, _, tokens), members in sorted(groups.items(), reverse=True):
            step = self.scorer.rows_at_once(length + tokens)
            for first in range(0, len(members), step):
                together = members[first : first + step]
                rows = np.stack([prompts[i] for i in together])
                for i, text in zip(
                    together, self._continue(rows, [settings[i] for i in together]), strict=True
                ):
                    texts[i] = text
                    self.cache_hook.add_partial("generate_until", requests[i].args, text)
        return texts

    def _settings(self, given: dict[str, Any]) -> dict[str, Any]:
        """Of a request; where it does not say, the likeliest tokens, the harness's 256 of them, or
        half the context, which is told once.

        UsageError for a setting that is not known, or more tokens than leave room for a prompt.
        """
        longest = self.scorer.longest
        default = min(_LENGTH, longest // 2)
        asked = {"temperature": 0.0} | normalize_gen_kwargs(dict(given), default)
        for name in asked:
            if name not in _GENERATION:
                known = ", ".join(sorted(_GENERATION))
                raise UsageError(
                    f"generation setting {name}={asked[name]}: not known; there are {known}"
                )
        if asked["max_gen_toks"] >= longest:
            raise UsageError(
                f"max_gen_toks={asked['max_gen_toks']}: leaves no room for a prompt in the run's "
                f"context of {longest}; give fewer: --gen_kwargs max_gen_toks={longest // 2}"
            )
        if default < _LENGTH and not given.keys() & _LENGTHS and not self._told:
            _LOG.warning("a task does not say how much to generate: %d tokens at most", default)
            self._told = True
        return asked

    def _continue(self, rows: np.ndarray, settings: Sequence[dict[str, Any]]) -> list[str]:
        """What follows prompts of equal length, which share all but their stops."""
        tokenizer, first = self.opened.tokenizer, settings[0]
        sampling = Sampling(first["temperature"], first.get("top_k"), first.get("seed", 0))
        prompt = torch.from_numpy(rows).to(self.device)
        ids: list[list[int]] = [[] for _ in settings]
        finished: list[str | None] = [None] * len(settings)
        for step in generate(
            self.opened.model, prompt, first["max_gen_toks"], sampling, self.scorer.budget
        ):
            for i, token in enumerate(step.ids.tolist()):
                if finished[i] is not None:
                    continue
                if token != tokenizer.bos:
                    ids[i].append(token)
                text = tokenizer.decode(ids[i])
                cut = _before_stop(text, settings[i]["until"])
                if token == tokenizer.bos or cut != text:
                    finished[i] = cut
            if None not in finished:
                break
        return [
            tokenizer.decode(written) if text is None else text
            for written, text in zip(ids, finished, strict=True)
        ]


def _place(device: str | None) -> torch.device:
    """Of the device asked for; the CPU, with a warning, where there is no GPU, for the harness's
    command asks for cuda:0 unless it is told otherwise."""
    name = (device or "auto").partition(":")[0]
    if name == "cuda" and not torch.cuda.is_available():
        _LOG.warning("there is no %s here: the model runs on the CPU", device)
        name = "cpu"
    return choose_device(name)


def _before_stop(text: str, stops: Sequence[str]) -> str:
    """The text before the first of the stops in it."""
    places = [text.find(stop) for stop in stops if stop and stop in text]
    return text[: min(places)] if places else text
