"""A run's records: whose commit they name, and what a killed run leaves."""

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from reasoning.training import runs
from reasoning.training.runs import (
    JsonLines,
    RunError,
    create_run,
    environment,
    read_environment,
    read_jsonl,
    restart_run,
    write_json,
)


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
    assert environment()["commit"] == "stated"
    monkeypatch.delenv("LOOPBENCH_COMMIT")
    record = environment()
    assert record["commit"] == git(tmp_path, "rev-parse", "HEAD")
    assert record["uncommitted_changes"] is False


def test_a_line_that_was_being_written_is_not_read(tmp_path):
    log = tmp_path / "metrics.jsonl"
    log.write_text('{"step": 2}\n{"step": 4}\n{"st')
    assert [record["step"] for record in read_jsonl(log)] == [2, 4]


def test_a_full_disk_is_told_with_the_file_and_leaves_what_was_there(tmp_path):
    full = tmp_path / "metrics.jsonl"
    full.symlink_to("/dev/full")
    log = JsonLines(full, None)
    with pytest.raises(RunError, match=f"{full}: could not be written .No space left.*resume"):
        log.write({"step": 1})
    record = tmp_path / "config.json"
    write_json(record, 1)
    beside = tmp_path / f".config.json.{platform.node()}-{os.getpid()}.partial"
    beside.symlink_to("/dev/full")
    with pytest.raises(OSError, match=f"No space left.*{record}"):
        write_json(record, 2)
    assert record.read_text() == "1\n"
    assert not beside.is_symlink()


def test_a_log_that_cannot_be_cut_stays_whole(tmp_path):
    log, text = tmp_path / "metrics.jsonl", '{"step": 2}\n{"step": 4}\n'
    log.write_text(text)
    beside = tmp_path / ".metrics.jsonl.partial"
    beside.symlink_to("/dev/full")
    with pytest.raises(RunError, match="could not be written"):
        JsonLines(log, 2)
    assert log.read_text() == text
    assert not beside.is_symlink()
    JsonLines(log, 2).close()
    assert log.read_text() == '{"step": 2}\n'


def test_a_run_is_dated_when_it_begins(tmp_path):
    for begin in (partial(create_run, tmp_path, {}), partial(restart_run, tmp_path)):
        (tmp_path / "environment.json").unlink(missing_ok=True)
        begin()
        date = datetime.fromisoformat(read_environment(tmp_path)["date"])
        assert timedelta(seconds=-1) <= datetime.now(UTC) - date < timedelta(minutes=5)
    assert "date" not in environment()  # what is computed anew is the same
