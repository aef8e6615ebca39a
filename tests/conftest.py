"""What several tests need: the development data beside the project, and one thread a process."""

import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]

torch.set_num_threads(1)  # several test processes share the cores


def shared(path):
    """Path of development data in ../shared; skips without it, and fails where CI promises it."""
    found = ROOT.parent / "shared" / path
    if not found.exists():
        message = f"development data ../shared/{path} is not beside the project"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found
