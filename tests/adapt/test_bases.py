"""`LocalBase`: lazy, in the hardware's own dtype, and the contract that ways build on."""

from __future__ import annotations

from pathlib import Path

import torch

from bedplate.adapt.bases import LocalBase
from bedplate.adapt.face import Base
from bedplate.machine.choose import choose_compute_dtype, choose_device


def test_nothing_is_loaded_before_it_is_asked(tmp_path: Path):
    local = LocalBase(tmp_path / "not there yet", name="later")
    assert local.name == "later"
    assert isinstance(local, Base)


def test_a_folder_is_loaded_once_in_what_the_hardware_multiplies(base):
    local = LocalBase(base.path)
    assert local.model is local.model
    assert local.model.dtype == getattr(torch, choose_compute_dtype(choose_device("auto")).name)
    assert local.name == base.path.name
    assert local.context == 256


def test_a_loaded_model_is_taken_as_it_is(make_model):
    model = make_model()
    assert LocalBase(model, name="mine").model is model


def test_prompt_tokens_are_the_chat_templates(make_model):
    local = LocalBase(make_model())
    asked = [{"role": "user", "content": "an owl"}]
    assert local.prompt_tokens(asked) == local.model.chat_prompt(asked)
