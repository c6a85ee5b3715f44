"""README's model of one's own, as it stands there; its size, and where pages' links go."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from scripts.cli import main
from scripts.commands.tables import pages
from scripts.models.registry import Registry

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "README.md").read_text()


def test_the_model_is_trained_beside_the_one_it_derives_from(tmp_path, monkeypatch):
    section = PAGE.split("## A model of your own\n")[1].split("\n## ")[0]
    ((python,), (shell,)) = (
        re.findall(rf"```{language}\n(.*?)```", section, flags=re.DOTALL)
        for language in ("python", "sh")
    )
    (tmp_path / "mine.py").write_text(python)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    small = {"6": "4", "1000": "32", "500": "8"}
    try:
        for line in shell.splitlines():
            words = shlex.split(line.replace("-cpu", "-mini"))[1:]
            if words[0] == "data":
                words = [small.get(word, word) for word in words]
            else:
                words += ["--steps", "2", "--device", "cpu"]
            assert main(words) == 0
    finally:
        sys.modules.pop("mine", None)
        for cached in (Registry.model_class, Registry.config_class):
            cached.cache_clear()
    assert [*json.loads(Path("table/comparison.json").read_text())] == [
        "trm-mini",
        "mine:Forgetful-mini",
    ]


def test_it_is_one_page():
    assert len(PAGE.split()) <= 700


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    """To a file, and to a heading of it where one is named."""
    for target, heading in re.findall(r"\]\(([^)#]*)(?:#([^)]+))?\)", page.read_text()):
        if target.startswith("https://"):
            continue
        path = page.parent / target if target else page
        assert path.exists(), target
        assert not heading or heading in anchors(path), f"{target}#{heading}"


def anchors(page: Path, levels: str = "#+") -> list[str]:
    """What a browser calls the headings of a page: lower case, hyphens, no punctuation."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(rf"^{levels} (.+)", text, re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]


def test_the_index_of_results_names_every_question():
    page = ROOT / "RESULTS.md"
    asked = page.read_text().split("## The questions\n")[1].split("\n## ")[0]
    first, *questions = anchors(page, "##")
    assert first == "the-questions"
    assert re.findall(r"\(#(.+?)\)", asked) == questions
