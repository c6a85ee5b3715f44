"""A run's records: whose commit they name, and what a killed run leaves."""

import shutil
import subprocess

from reasoning.training import runs
from reasoning.training.runs import environment, read_jsonl


def git(folder, *words):
    identity = ("-c", "user.name=x", "-c", "user.email=x@y")
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_the_commit_is_of_the_checkout_that_knows_this_file(tmp_path, monkeypatch):
    copy = tmp_path / "runs.py"
    shutil.copy(runs.__file__, copy)
    monkeypatch.setattr(runs, "__file__", str(copy))
    monkeypatch.setenv("LOOPBENCH_COMMIT", "stated")
    assert environment()["commit"] == "stated"  # no checkout
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "somebody else's")
    record = environment()
    assert (record["commit"], record["uncommitted_changes"]) == ("stated", None)
    git(tmp_path, "add", "runs.py")
    git(tmp_path, "commit", "-q", "-m", "ours")
    record = environment()
    assert record["commit"] == git(tmp_path, "rev-parse", "HEAD")
    assert record["uncommitted_changes"] is False


def test_a_line_that_was_being_written_is_not_read(tmp_path):
    log = tmp_path / "metrics.jsonl"
    log.write_text('{"step": 2}\n{"step": 4}\n{"st')
    assert [record["step"] for record in read_jsonl(log)] == [2, 4]
