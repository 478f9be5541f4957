"""`open_face` on every kind of folder, and on what can't be opened."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bedplate.adapt.face import Answerer, Classifier
from bedplate.adapt.opening import open_face
from bedplate.console import Console
from bedplate.errors import ArtefactError, InputError, TokenizerError, UserError, WeightsError
from bedplate.families.imports import import_model
from bedplate.generate.params import SamplingParams
from bedplate.ledger import open_artefact

HELLO = [{"role": "user", "content": "hello"}]


def test_a_model_answers_by_its_chat_template(base, make_model):
    face = open_face(base.path)
    assert isinstance(face, Answerer)
    assert face.name == base.name
    answer = face.generate(HELLO, SamplingParams(max_tokens=6))
    direct = face.base.model.chat(HELLO, SamplingParams(max_tokens=6))
    assert answer.text == direct.text
    assert answer.usage == direct.usage
    assert answer.citations == ()


def test_a_hugging_face_folder_opens_as_it_is(make_model, tmp_path: Path):
    make_model().save(tmp_path / "plain")
    face = open_face(tmp_path / "plain")
    assert face.name == "plain"
    assert face.generate(HELLO, SamplingParams(max_tokens=3)).usage.completion_tokens <= 3


def test_a_stream_adds_up_to_the_answer(base):
    face = open_face(base.path)
    stream = face.base.stream(HELLO, SamplingParams(max_tokens=8))
    pieces = []
    while True:
        try:
            pieces.append(next(stream))
        except StopIteration as end:
            answer = end.value
            break
    assert "".join(pieces) == answer.text == face.generate(HELLO, SamplingParams(max_tokens=8)).text


def test_many_answers_are_those_of_each_alone(base):
    asked = [[{"role": "user", "content": text}] for text in ("hello", "a much longer question, is it?", "")]
    local = open_face(base.path).base
    together = local.generate_many(asked, SamplingParams(max_tokens=6))
    assert [a.text for a in together] == [local.generate(m, SamplingParams(max_tokens=6)).text for m in asked]
    assert local.generate_many([]) == []


def test_a_conversation_longer_than_the_context_is_refused(base):
    with pytest.raises(InputError, match="the context of base is 256"):
        open_face(base.path).generate([{"role": "user", "content": "owl " * 400}])


def test_a_model_without_a_chat_template_says_so_before_it_is_loaded(make_model, tmp_path: Path):
    make_model().save(tmp_path / "plain")
    (tmp_path / "plain" / "chat_template.jinja").unlink()
    (tmp_path / "plain" / "model.safetensors").write_bytes(b"never read")
    with pytest.raises(TokenizerError, match="no chat template"):
        open_face(tmp_path / "plain")


def test_an_encoder_cannot_be_asked(encoder):
    with pytest.raises(WeightsError, match="is an encoder"):
        open_face(encoder.path)


def test_what_adapt_made_opens_by_its_way(adapt, things: Path):
    assert isinstance(open_face(adapt({"way": "keywords"}, things).path), Classifier)
    probe = adapt({"way": "probe"}, things, ("encoder",))
    assert isinstance(open_face(str(probe.path / "bedplate.json")), Classifier)


def test_a_prompt_goes_where_its_base_went(adapt, things: Path, make_model, tmp_path: Path):
    make_model(seed=5).save(tmp_path / "hf")
    model = import_model(tmp_path / "hf", tmp_path / "model", console=Console.quiet())
    made = adapt({"way": "zero-shot"}, things, {"base": model}, budget={"validation": 6})
    before = open_face(made.path).classify(["an owl"]).scores
    shutil.move(tmp_path / "model", tmp_path / "elsewhere")
    with pytest.raises(ArtefactError, match=r"no such artefact") as error:
        open_face(made.path)
    assert "--base FOLDER" in error.value.fix
    assert (open_face(made.path, base=tmp_path / "elsewhere").classify(["an owl"]).scores == before).all()


def test_another_base_is_refused_by_digest(adapt, things: Path, base, make_model, tmp_path: Path):
    made = adapt({"way": "zero-shot"}, things, ("base",), budget={"validation": 6})
    make_model(seed=6).save(tmp_path / "hf")
    other = import_model(tmp_path / "hf", tmp_path / "other", console=Console.quiet())
    with pytest.raises(ArtefactError, match=f"digest {base.digest[:12]}.*digest {other.digest[:12]}"):
        open_face(made.path, base=other.path)


def test_an_artefact_that_moved_with_its_base_still_opens(adapt, things: Path, make_model, tmp_path: Path):
    """Paths in manifests are relative: a whole `runs` folder can be moved."""
    from bedplate.adapt.stage import ADAPT, AdaptConfig
    from bedplate.ledger import produce

    make_model(seed=7).save(tmp_path / "hf")
    model = import_model(tmp_path / "hf", tmp_path / "runs" / "model", console=Console.quiet())
    config = AdaptConfig.model_validate(
        {"task": {"file": str(things)}, "way": {"way": "zero-shot"}, "budget": {"validation": 6}}
    )
    produce(ADAPT, config, {"base": model}, tmp_path / "runs" / "prompt", name="prompt", console=Console.quiet())
    shutil.move(tmp_path / "runs", tmp_path / "archive")
    assert open_face(tmp_path / "archive" / "prompt").classify(["an owl"]).labels


def test_an_index_needs_a_base(tmp_path: Path, base):
    folder = tmp_path / "index"
    shutil.copytree(base.path, folder)
    manifest = json.loads((folder / "bedplate.json").read_text())
    (folder / "bedplate.json").write_text(json.dumps(manifest | {"kind": "index", "stage": "index"}))
    with pytest.raises(UserError, match="needs a base to write the answers"):
        open_face(folder)


def test_an_adapter_from_elsewhere_needs_its_base(tmp_path: Path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="nothing says what it was trained on"):
        open_face(tmp_path)


def test_what_cannot_be_asked_is_named(base, tmp_path: Path):
    folder = tmp_path / "corpus"
    shutil.copytree(base.path, folder)
    manifest = json.loads((folder / "bedplate.json").read_text())
    (folder / "bedplate.json").write_text(json.dumps(manifest | {"kind": "corpus", "stage": "curate"}))
    with pytest.raises(ArtefactError, match="a corpus artefact, which can't be asked"):
        open_face(folder)
    with pytest.raises(InputError, match="no such folder; nearest: "):
        open_face(tmp_path / "corpsu")
    with pytest.raises(InputError, match=r"no config\.json"):
        open_face(tmp_path)


def test_it_is_bedplates_open(base):
    import bedplate

    assert bedplate.open(base.path).name == open_artefact(base.path).name
