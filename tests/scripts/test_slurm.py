"""The SLURM example, with stand-ins for its commands: torchrun and training are the real ones."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reasoning.training.runs import read_jsonl

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.skipif(shutil.which("bash") is None, reason="the example is a bash script")
def test_a_job_trains_and_a_second_one_goes_on_with_another_number_of_processes(sudokus, tmp_path):
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, text in {"srun": 'exec "$@"', "scontrol": "echo localhost"}.items():
        (bin_folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (bin_folder / name).chmod(0o755)
    run = tmp_path / "run"

    def job(processes: int, steps: int) -> None:
        words = ["--preset", "trm-mini", "--data", str(sudokus), "--steps", str(steps)]
        words += ["--batch", "12", "--log-every", "2", "--checkpoint-every", "4"]
        environment = os.environ | {
            "PATH": os.pathsep.join([str(bin_folder), str(Path(sys.executable).parent)])
            + os.pathsep
            + os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "SLURM_JOB_NODELIST": "localhost",
            "SLURM_NNODES": "1",
            "SLURM_JOB_ID": str(steps),
            "GPUS": str(processes),
        }
        command = ["bash", str(ROOT / "scripts" / "train.slurm"), str(run), *words]
        subprocess.run(command, env=environment, cwd=ROOT, check=True, timeout=180)

    job(2, 8)
    # As a job that was stopped at half of its steps leaves it.
    config = json.loads((run / "config.json").read_text())
    assert config["processes"] == 2
    config["config"]["steps"] = 16
    (run / "config.json").write_text(json.dumps(config))
    job(1, 16)
    steps = [r["step"] for r in read_jsonl(run / "metrics.jsonl") if r["split"] == "train"]
    assert steps == list(range(2, 17, 2))
