"""tyro's printed text, read: held against the forms it was printed for."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro

from reasoning.training.config import TrainingConfig
from scripts.terminal.tyro_text import message_of, options_of, printed
from scripts.usage import UsageError, parse


def form(data: Path, *, size: int = 3, kind: Literal["a", "b"] = "a", cut: bool = True):
    """What --data is for; see --nothing.

    Args:
        data: a folder, as --other wants it.
    """


def leaves(fields, before=""):
    for name, value in fields.items():
        place = before + name.replace("_", "-")
        if isinstance(value, dict):
            yield from leaves(value, f"{place}.")
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
            for i, part in enumerate(value):
                yield from leaves(part, f"{place}.{i}.")
        elif value != ():  # of stages, of which none is there to be set
            yield place


def help_of(what, **options):
    with printed() as text, contextlib.suppress(SystemExit):
        tyro.cli(what, args=["--help"], **options)
    return text()


def test_options_are_those_of_the_form_and_none_that_its_prose_names():
    assert options_of(help_of(form)) == [
        *("--help", "--data", "--size", "--kind", "--cut", "--no-cut")
    ]


def test_options_of_a_nested_configuration_are_its_fields():
    config = TrainingConfig(steps=5)
    found = set(options_of(help_of(TrainingConfig, default=config)))
    fields = {f"--{place}" for place in leaves(config.model_dump())}
    assert len(fields) > 30
    assert fields <= found
    negated = {option for option in found - fields if option.rpartition(".")[2].startswith("no-")}
    negated |= {option for option in found - fields if option.startswith("--no-")}
    assert found - fields - negated == {"--help"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "Missing from do: --data PATH a folder, as --other wants it. (required) (see do"),
        (["--data", "d", "--size", "x"], "Error parsing --size: 'x' is no whole number (see"),
        (["--data", "d", "--kind", "c"], "invalid choice 'c' for argument '--kind'. Expected one"),
        (["--data", "d", "--size"], "Missing value for argument '--size'. Expected 1 values."),
        (["--data", "d", "--sise", "4"], "unknown option --sise, did you mean --size?"),
        (["--data", "d", "--bogus", "4"], "unknown option --bogus (see do --help)"),
    ],
)
def test_what_does_not_fit_is_one_line(words, told):
    with pytest.raises(UsageError) as refused:
        parse(form, words, "do")
    assert str(refused.value).startswith(told)
    assert "\n" not in str(refused.value)


def test_what_a_part_of_a_configuration_refuses_is_told_with_its_place():
    with pytest.raises(UsageError) as refused:
        parse(TrainingConfig, ["--optimizer.lr", "-1"], "do", default=TrainingConfig(steps=5))
    assert str(refused.value).startswith("--optimizer.lr: Input should be greater than")
    assert "(got -1.0) (see do --help)" in str(refused.value)


@dataclass
class Train:
    """A form that holds a configuration, as the commands' do."""

    config: Annotated[TrainingConfig, tyro.conf.arg(name="")]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--optimizer.lr", "-1"], "--optimizer.lr: Input should be greater than"),
        (["--optimizer.betas", "1.5", "0.9"], "--optimizer.betas.0: Input should be less than 1"),
        (["--steps", "a/b.json"], "Error parsing --steps: 'a/b.json' is no whole number (see"),
        (["--steps", "0"], "--steps: Input should be greater than 0 (got 0)"),
    ],
)
def test_an_option_of_a_configuration_that_a_form_holds_is_called_as_it_is_typed(words, told):
    with pytest.raises(UsageError) as refused:
        parse(Train, words, "do", default=Train(TrainingConfig(steps=5)))
    assert str(refused.value).startswith(told)
    assert "/--" not in str(refused.value)
    assert "----" not in str(refused.value)


def test_a_report_without_rules_is_its_text():
    assert message_of("all that\n is said\n") == "all that is said"
    assert message_of("") == ""
