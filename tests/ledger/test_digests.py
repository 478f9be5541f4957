"""Keys and digests: equal for equal meanings, different for different ones."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.errors import InternalError
from bedplate.ledger.digests import canonical_json, outputs_digest, sha256_file, stage_key
from bedplate.ledger.manifest import Output

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
configs = st.dictionaries(st.text(), json_values, max_size=4)
digests = st.text("0123456789abcdef", min_size=4, max_size=4)
paths = st.text(min_size=1).filter(lambda path: not path.startswith("/") and ".." not in path.split("/"))
outputs = st.lists(
    st.builds(Output, path=paths, bytes=st.integers(0), sha256=digests, volatile=st.booleans()),
    max_size=5,
)


def reordered(value, random):
    """The same JSON value with every mapping in another order."""
    if isinstance(value, dict):
        items = [(key, reordered(item, random)) for key, item in value.items()]
        random.shuffle(items)
        return dict(items)
    return [reordered(item, random) for item in value] if isinstance(value, list) else value


@given(json_values, st.randoms())
def test_canonical_json_is_json_and_knows_no_order(value, random):
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(reordered(value, random)) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), b"x", {1: {2}}])
def test_what_has_no_canonical_json_is_refused(value):
    with pytest.raises(InternalError):
        canonical_json(value)


@given(st.text(), st.integers(), configs, st.dictionaries(st.text(), digests), st.randoms())
def test_key_depends_on_every_part_and_on_no_order(name, version, config, inputs, random):
    key = stage_key(name, version, config, inputs)
    assert key == stage_key(name, version, reordered(config, random), reordered(inputs, random))
    assert key != stage_key(name + "x", version, config, inputs)
    assert key != stage_key(name, version + 1, config, inputs)
    assert key != stage_key(name, version, {**config, "one more": 1}, inputs)
    assert key != stage_key(name, version, config, {**inputs, "one more": "abcd"})


def test_key_never_changes():
    """Or every user's artefacts would be made anew."""
    written = '{"config":{"steps":3},"inputs":{"corpus":"ab"},"stage":"curate","version":1}'
    assert stage_key("curate", 1, {"steps": 3}, {"corpus": "ab"}) == hashlib.sha256(written.encode()).hexdigest()


@given(outputs, st.randoms())
def test_digest_is_of_the_set_of_stable_outputs(listed, random):
    shuffled = list(listed)
    random.shuffle(shuffled)
    assert outputs_digest(listed) == outputs_digest(shuffled)
    assert outputs_digest(listed) == outputs_digest([output for output in listed if not output.volatile])
    added = Output(path="new", bytes=1, sha256="00")
    assert outputs_digest([*listed, added]) != outputs_digest(listed)


@given(st.binary(max_size=4000))
def test_file_hash_is_sha256(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("hash") / "file"
    path.write_bytes(data)
    assert sha256_file(path) == hashlib.sha256(data).hexdigest()
