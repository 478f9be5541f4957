"""Tiny random models in two libraries, one of each kind a session."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers.utils import logging

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

from peft_case import KINDS, LENGTH, VOCABULARY, Base, make_base  # noqa: E402 - found through the line above


@pytest.fixture(scope="session", autouse=True)
def _quiet_and_alone() -> Iterator[None]:
    logging.disable_progress_bar()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    logging.enable_progress_bar()


@pytest.fixture(scope="session", params=KINDS)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Base:
    return make_base(request.param, tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return make_base("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return make_base("llama tied", tmp_path_factory.mktemp("tied"))


@pytest.fixture(scope="session")
def tokens() -> Tensor:
    return torch.randint(0, VOCABULARY, (2, LENGTH), generator=torch.Generator().manual_seed(1))
