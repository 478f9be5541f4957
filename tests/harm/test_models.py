"""Models and tokenizers that are damaged, hostile or not each other's: import, export, chat, evaluate, release."""

from __future__ import annotations

import json
import random
import shutil
import struct
from pathlib import Path

import pytest

RELEASE = "runs/tiny/release"


def edit_json(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def header_and_rest(path: Path) -> tuple[dict, bytes]:
    whole = path.read_bytes()
    end = 8 + struct.unpack("<Q", whole[:8])[0]
    return json.loads(whole[8:end]), whole[end:]


def write_safetensors(path: Path, header: dict, rest: bytes) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + rest)


def truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def endless_header(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 62) + path.read_bytes()[8:])


def far_offsets(folder: Path) -> None:
    header, rest = header_and_rest(folder / "model.safetensors")
    header["model.norm.weight"]["data_offsets"] = [0, 1 << 60]
    write_safetensors(folder / "model.safetensors", header, rest)


def huge_shape(folder: Path) -> None:
    header, rest = header_and_rest(folder / "model.safetensors")
    header["model.norm.weight"]["shape"] = [1 << 40, 1 << 40]
    write_safetensors(folder / "model.safetensors", header, rest)


def renamed_weight(folder: Path) -> None:
    header, rest = header_and_rest(folder / "model.safetensors")
    header["evil\x1b[31m.weight"] = header.pop("model.norm.weight")
    write_safetensors(folder / "model.safetensors", header, rest)


def not_numbers(folder: Path) -> None:
    header, rest = header_and_rest(folder / "model.safetensors")
    write_safetensors(folder / "model.safetensors", header, b"\xff" * len(rest))


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def climbing_index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../../etc/passwd"}}))


def missing_shard(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    weight_map = {"a": "model-00001-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def larger_tokenizer(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    content["added_tokens"] += [{"id": 300 + n, "content": f"<extra {n}>", **plain} for n in range(500)]
    (folder / "tokenizer.json").write_text(json.dumps(content))


def config(**changes):
    return lambda folder: edit_json(folder / "config.json", **changes)


def replaced(name: str, content: str):
    return lambda folder: (folder / name).write_text(content)


FOLDERS = {
    "truncated": (truncated, ["model.safetensors: ", "truncated or damaged", "Copy or download it again."]),
    "endless header": (endless_header, ["its header says 4,611,686,018,427,387,904 bytes"]),
    "far offsets": (far_offsets, ["where its header needs 1,152,921,504"]),
    "huge shape": (huge_shape, ["model.safetensors: not readable as safetensors"]),
    "renamed weight": (renamed_weight, ["missing: model.norm.weight; unknown: evil␛[31m.weight"]),
    "not numbers": (not_numbers, ["the source's own answers aren't finite numbers"]),
    "pickled": (pickled, ["only pickled weights (pytorch_model.bin), which can run code"]),
    "climbing index": (climbing_index, ["shard name '../../etc/passwd' is not a file's name"]),
    "missing shard": (missing_shard, ["model-00001-of-00002.safetensors: missing"]),
    "larger tokenizer": (larger_tokenizer, ["the tokenizer has 800 tokens and the model 320 rows"]),
    "broken tokenizer": (replaced("tokenizer.json", '{"a":'), ["tokenizer.json: not JSON"]),
    "empty tokenizer": (replaced("tokenizer.json", "{}"), ["tokenizer.json: not a tokenizer"]),
    "broken settings": (replaced("tokenizer_config.json", "no"), ["tokenizer_config.json: not JSON"]),
    "broken generation": (replaced("generation_config.json", "[1"), ["generation_config.json: not JSON"]),
    "broken config": (replaced("config.json", "{"), ["config.json: not readable as JSON"]),
    "config that is a list": (replaced("config.json", "[]"), ["config.json: not a JSON object"]),
    "unknown type": (config(model_type="evil", auto_map={"AutoModel": "evil.py"}), ["model_type 'evil' is unknown"]),
    "a thousand million layers": (config(num_hidden_layers=10**9), ["config.json: num_hidden_layers"]),
    "a huge width": (config(hidden_size=10**12), ["hidden_size 1000000000000", "more numbers than can be addressed"]),
    "a negative width": (config(hidden_size=-32), ["config.json: hidden_size"]),
    "no heads": (config(num_attention_heads=0), ["config.json: num_attention_heads"]),
    "a smaller vocabulary": (config(vocab_size=10), ["model.embed_tokens.weight is [320, 32]"]),
}


@pytest.fixture(scope="module")
def told_of_folders(workshop, perform, litter):
    commands = []
    for number, (damage, _) in enumerate(FOLDERS.values()):
        folder = workshop / "models" / str(number)
        shutil.copytree(workshop / RELEASE, folder)
        (folder / "bedplate.json").unlink()
        damage(folder)
        commands.append(["import", f"models/{number}", f"imported/{number}"])
    said = dict(zip(FOLDERS, perform(workshop, commands), strict=True))
    assert not [path for path in (workshop / "imported").iterdir() if path.suffix != ".lock"]
    assert not litter(workshop)
    return said


@pytest.mark.parametrize("what", FOLDERS)
def test_import_of_a_bad_folder(told_of_folders, what):
    told_of_folders[what].is_mistake(*FOLDERS[what][1])


def gguf_header(keys: int, tensors: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys)


def string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


NESTED = b"".join(struct.pack("<IQ", 9, 1) for _ in range(2000))
ARCHITECTURE = string(b"general.architecture") + struct.pack("<I", 8)
GGUFS = {
    "tensors without number": (gguf_header(0, 1 << 62) + bytes(100), ["4,611,686,018,427,387,904 tensors"]),
    "keys without number": (gguf_header(1 << 62) + bytes(100), ["4,611,686,018,427,387,904 metadata keys"]),
    "an endless key": (gguf_header(1) + struct.pack("<Q", 1 << 62) + bytes(50), ["metadata key 0 is 4,611,686,018"]),
    "an endless array": (
        gguf_header(1) + string(b"a") + struct.pack("<IIQ", 9, 4, 1 << 61) + bytes(50),
        ["the value of 'a' at byte 49 needs 9,223,372,036,854,775,808 bytes"],
    ),
    "endless strings": (
        gguf_header(1) + string(b"a") + struct.pack("<IIQ", 9, 8, 1 << 61) + bytes(50),
        ["(2,305,843,009,213,693,952 elements)"],
    ),
    "arrays in arrays": (
        gguf_header(1) + string(b"a") + struct.pack("<I", 9) + NESTED + struct.pack("<IQ", 4, 0),
        ["arrays nested deeper than 4"],
    ),
    "a shape that overflows": (
        gguf_header(0, 1) + string(b"t") + struct.pack("<IQQIQ", 2, 1 << 40, 1 << 40, 0, 0),
        ["tensor 't' needs bytes 96 to 4,835,703,278,458,516,698,824,800"],
    ),
    "an offset beyond the file": (
        gguf_header(0, 1) + string(b"t") + struct.pack("<IQIQ", 1, 32, 0, 1 << 60) + bytes(256),
        ["tensor 't' needs bytes 1,152,921,504,606,847,040"],
    ),
    "dimensions without number": (
        gguf_header(0, 1) + string(b"t") + struct.pack("<I", 1 << 30) + bytes(256),
        ["1,073,741,824 dimensions"],
    ),
    "an unknown architecture": (
        gguf_header(1) + ARCHITECTURE + string(b"evil\x1b]0;x\x07") + bytes(64),
        ["general.architecture is 'evil", "Supported in GGUF: llama"],
    ),
    "another version": (gguf_header(0, version=99), ["GGUF version 99 isn't supported"]),
    "ten bytes": (gguf_header(0)[:10], ["a header needs 24 bytes, the file has 10"]),
    "nothing": (b"", ["not a GGUF file"]),
}


@pytest.fixture(scope="module")
def gguf(workshop, perform):
    (said,) = perform(workshop, [["export", RELEASE, "gguf", "--format", "gguf"]])
    said.is_done()
    assert "made gguf" in said.err
    return workshop / "gguf" / "model.gguf"


@pytest.fixture(scope="module")
def told_of_ggufs(workshop, perform):
    folder = workshop / "hostile"
    folder.mkdir()
    for number, (content, _) in enumerate(GGUFS.values()):
        (folder / f"{number}.gguf").write_bytes(content)
    commands = [["import", f"hostile/{number}.gguf", f"from-gguf/{number}"] for number in range(len(GGUFS))]
    said = dict(zip(GGUFS, perform(workshop, commands), strict=True))
    assert not [path for path in (workshop / "from-gguf").iterdir() if path.suffix != ".lock"]
    return said


@pytest.mark.parametrize("what", GGUFS)
def test_import_of_a_hostile_gguf(told_of_ggufs, what):
    told_of_ggufs[what].is_mistake(*GGUFS[what][1])


def test_import_of_a_gguf_with_flipped_bits(workshop, gguf, perform):
    """Whatever a bit in the header says, the answer is a plain statement or a model."""
    whole = gguf.read_bytes()
    for number in range(20):
        draw, broken = random.Random(number), bytearray(whole)
        for _ in range(4):
            broken[draw.randrange(4, 9000)] ^= 1 << draw.randrange(8)
        (workshop / f"flipped-{number}.gguf").write_bytes(broken)
    (workshop / "cut.gguf").write_bytes(whole[: len(whole) // 2])
    names = [f"flipped-{number}" for number in range(20)]
    *flipped, cut = perform(workshop, [["import", f"{name}.gguf", f"flipped/{name}"] for name in (*names, "cut")])
    cut.is_mistake("cut.gguf: truncated or corrupt: tensor ")
    for said in flipped:
        said.is_done() if said.code == 0 else said.is_mistake(".gguf")


WRONG = {
    "import nowhere out": ["nowhere: no such file or folder", "organisation/model on the hub"],
    "import docs out": ["docs: no config.json in it, so not a model"],
    "import tiny.yaml out": ["tiny.yaml: not a GGUF file"],
    "import runs/tiny/release out --dtype int8": ["Invalid value for '--dtype': 'int8' is not one of"],
    "import runs/tiny/release out --revision abc": ["Leave revision out."],
    "import runs/tiny/release runs/tiny/release --replace": ["would take the place of runs/tiny/release"],
    "import runs/tiny/model/model runs/tiny/model --replace": ["would take the place of runs/tiny/model/model"],
    "export nowhere out": ["nowhere: no such file or folder"],
    "export runs/tiny/corpus out": ["a corpus artefact (made by curate), where model or run or release is needed"],
    "export runs/tiny/release tiny.yaml": ["tiny.yaml: exists and isn't an artefact", "won't be touched"],
    "export runs/tiny/release docs --replace": ["docs: exists and isn't an artefact", "won't be touched"],
    "export runs/tiny/release runs/tiny/release --replace": ["would take the place of runs/tiny/release"],
    "export runs/tiny/release runs/tiny/release/inside": ["inside the artefact"],
    "export runs/tiny/release .": ["needs a name of its own"],
    "export runs/tiny/release out --dtype int4": ["unknown dtype 'int4'", "Types: float32, bfloat16, float16."],
    "export runs/tiny/release out --format onnx": ["Invalid value for '--format': 'onnx' is not one of"],
    "export runs/tiny/release out.gguf --format gguf": ["OUT is a folder"],
    "chat nowhere": ["nowhere: no such folder"],
    "chat docs": ["docs: no config.json in it, so not a model"],
    "chat runs/tiny/corpus": ["runs/tiny/corpus: a corpus artefact, which can't be asked anything"],
    "chat runs/tiny/release": ["no chat template", "--raw"],
    "chat runs/tiny/release --raw --temperature -1": ["Invalid value for '--temperature'"],
    "evaluate runs/tiny/release": ["a folder, not a recipe", "--tasks a,b"],
    "evaluate runs/tiny/release --tasks nope": ["unknown task 'nope'", "Tasks are: arc_easy"],
    "evaluate runs/tiny/release --tasks ,": ["no task is named"],
    "evaluate runs/tiny/release --tasks piqa": ["no folder with the tasks' data is named", "--data FOLDER"],
    "evaluate runs/tiny/release --tasks piqa --data docs": ["no commonsense_qa/dataset/piqa/test.json in docs"],
    "evaluate nowhere --tasks piqa --data docs": ["nowhere: no such folder"],
    "evaluate runs/tiny/release steps=3 --tasks piqa": ["'steps=3' belongs to a recipe"],
}


@pytest.fixture(scope="module")
def told_of_words(workshop, perform):
    said = dict(zip(WRONG, perform(workshop, [line.split() for line in WRONG]), strict=True))
    assert not (workshop / "out").exists()
    (verified,) = perform(workshop, [["show", RELEASE, "--verify"]])
    verified.is_done()
    return said


@pytest.mark.parametrize("line", WRONG)
def test_wrong_commands(told_of_words, line):
    told_of_words[line].is_mistake(*WRONG[line])


def test_export_again_and_over(bench, perform):
    made, found, other, over = perform(
        bench,
        [
            ["export", RELEASE, "out"],
            ["export", RELEASE, "out"],
            ["export", RELEASE, "out", "--dtype", "bfloat16"],
            ["export", RELEASE, "out", "--dtype", "bfloat16", "--replace"],
        ],
    )
    made.is_done()
    assert made.err.endswith("made out\n")
    found.is_done()
    assert found.err.endswith("found out\n")
    other.is_mistake("dtype: None there, 'bfloat16' asked for", "--replace")
    over.is_done()


def test_tokens_of_another_tokenizer(bench, perform):
    """Tokens that another tokenizer made mean other texts to the model: nothing may be scored on them."""
    (said,) = perform(bench, [["tokenize", "tiny.yaml", "tokenizer.vocabulary=290", "--replace", "tokens.out=foreign"]])
    said.is_done()
    foreign = "evaluation.inputs={run: runs/tiny/model, tokens: foreign, corpus: corpus}"
    evaluated, resumed = perform(
        bench,
        [
            ["evaluate", "tiny.yaml", "tokenizer.vocabulary=290", foreign, "evaluation.out=other"],
            ["pretrain", "tiny.yaml", "tokenizer.vocabulary=290", "tokens.out=foreign"],
        ],
    )
    evaluated.is_mistake(
        "its tokenizer (", ") isn't the one that made foreign (", "Tokenize the corpus with the model's"
    )
    resumed.is_mistake("runs/tiny/model: already holds an artefact", "input tokens (tokens):")
    assert not (bench / "other").exists()


def test_an_evaluation_of_another_model(bench, perform):
    other, released = perform(
        bench,
        [
            ["pretrain", "tiny.yaml", "model.seed=1", "model.out=other"],
            [
                "release",
                "tiny.yaml",
                "release.inputs={run: other, evaluation: runs/tiny/evaluation}",
                "release.out=out",
            ],
        ],
    )
    other.is_done()
    released.is_mistake("runs/tiny/evaluation: an evaluation of another model than other")
    assert not (bench / "out").exists()
