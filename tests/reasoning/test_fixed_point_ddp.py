"""Two processes under DistributedDataParallel have the gradients of one with the whole batch."""

import os
import subprocess
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from reasoning.fixed_point import (
    Adjoint,
    Anderson,
    Neumann,
    OneStep,
    Phantom,
    Picard,
    Reversible,
    solve,
)
from reasoning.training.distribution import leave_world

GRADIENTS = [OneStep(), Neumann(2), Phantom(2, 0.7), Reversible(2), Adjoint(Picard(1e-10, 200))]


class Model(nn.Module):
    """A fixed point between an encoder and a head; parameters of f are used many times."""

    def __init__(self, gradient):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.core, self.head = (nn.Linear(6, 6).double() for _ in range(3))
        self.gradient = gradient

    def forward(self, inputs):
        x = self.encoder(inputs)

        def f(w):
            y, z = w
            z = torch.tanh(self.core(z + y) / 2 + x)
            return torch.tanh(self.core(y) / 2 + z), z

        start = (torch.zeros_like(x), torch.zeros_like(x))
        y, _ = solve(f, start, Anderson(1e-10, 100), self.gradient).value
        return self.head(y)


def gradients(model, inputs):
    model.zero_grad()
    model(inputs).square().mean().backward()
    return [p.grad.clone() for p in model.parameters()]


def batch():
    return torch.randn(8, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def worker(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    out = []
    for gradient in GRADIENTS:
        model = DistributedDataParallel(Model(gradient))
        for _ in range(2):  # a second step: the reducer must have been left ready for it
            out.append(gradients(model, batch()[rank::2]))
    torch.save(out, f"{folder}/{rank}.pt")
    del model  # its reducer would outlive the group
    leave_world()


def test_gradients_are_those_of_one_process(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    commands = [[sys.executable, __file__, str(rank), str(tmp_path)] for rank in range(2)]
    processes = [subprocess.Popen(command, env=environment) for command in commands]
    try:
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    expected = [grads for g in GRADIENTS for grads in [gradients(Model(g), batch())] * 2]
    for rank in range(2):
        got = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-12)
    # and the four gradients differ, so that the comparison means something
    assert all(not torch.allclose(expected[0][0], other[0]) for other in expected[2::2])


if __name__ == "__main__":
    worker(int(sys.argv[1]), sys.argv[2])
