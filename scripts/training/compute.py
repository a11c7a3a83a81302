"""Where a network is trained: the device, the form of its numbers, how many processes render for it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True, slots=True)
class Compute:
    """A device by its name in torch (`cpu`, `cuda`, `cuda:1`), whether it multiplies in bf16, and who feeds it.

    `threads` are the CPU threads that learn, `workers` the processes that render.
    """

    device: str = "cpu"
    bf16: bool = False
    threads: int = 1
    workers: int = 1

    def autocast(self) -> torch.autocast:
        """The context in which the forward pass runs."""
        return torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.bf16)

    def __str__(self) -> str:
        device = torch.device(self.device)
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else self.device
        return f"{name}, {'bf16' if self.bf16 else 'float32'}"


def choose(
    device: str = "auto", *, bf16: bool | None = None, threads: int | None = None, workers: int | None = None
) -> Compute:
    """The GPU where torch finds one, else the CPU; bf16 where the device has it; cores divided between the two tasks.

    Raises ValueError where `device` is none that this torch can use.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"torch cannot use the device {device!r} here: {str(error).splitlines()[0]}") from error
    on_cpu = torch.device(device).type == "cpu"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads is None:
        threads = max(1, cores // 2) if on_cpu else 1
    if workers is None:
        workers = max(1, cores - threads)
    if bf16 is None:
        bf16 = cpu_has_bf16() if on_cpu else torch.device(device).type == "cuda" and torch.cuda.is_bf16_supported()
    return Compute(device, bf16, threads, workers)


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies in bf16 itself: imitated, it is slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
