"""Rules over columns: what they drop, what they say, what they refuse, and what they would drop."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bedplate.data.documents import Document
from bedplate.data.filters.config import FiltersConfig
from bedplate.data.filters.previewing import preview
from bedplate.data.filters.rules import check_columns, required_columns, rules_of
from bedplate.data.filters.step import step
from bedplate.data.signals.columns import ALL_COLUMNS
from bedplate.data.signals.config import SignalsConfig, with_columns
from bedplate.data.signals.step import step as signals_step
from bedplate.errors import UserError

EVERYTHING = FiltersConfig.model_validate(
    {"languages": ["en", "de"], "gopher_quality": True, "gopher_repetition": True, "c4": True, "fineweb": True}
)


def rule(**fields):
    return FiltersConfig.model_validate({"rules": [fields]})


def judged(config, **columns):
    document = Document("a", "text", columns=columns)
    step(config)([document])
    return document


@pytest.mark.parametrize(
    ("config", "columns", "reason", "detail"),
    [
        (rule(column="words", min=50), {"words": 31}, "words", "words 31 is under 50"),
        (rule(column="words", min=50, reason="short"), {"words": 31}, "short", "words 31 is under 50"),
        (rule(column="words", max=100_000), {"words": 123_456}, "words", "words 123456 is over 100000"),
        (rule(column="toxicity", max=0.5), {"toxicity": 0.71234567}, "toxicity", "toxicity 0.7123 is over 0.5"),
        (rule(column="toxicity", max=0.5, missing="drop"), {}, "toxicity", "toxicity is missing"),
        (
            FiltersConfig(languages=("de", "en")),
            {"language_detected": "fr", "language_score": 0.9},
            "language",
            "language_detected fr is none of de, en",
        ),
        (
            FiltersConfig(languages=("de",)),
            {"language_detected": "de", "language_score": 0.41},
            "language_score",
            "language_score 0.41 is under 0.65",
        ),
    ],
)
def test_a_document_is_dropped_and_told_why(config, columns, reason, detail):
    document = judged(config, **columns)
    assert (document.status, document.stage, document.reason) == ("dropped", "filters", reason)
    assert document.detail == detail
    assert document.columns["failed_rules"] == reason


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ({"column": "x", "min": 50, "max": 50}, 50),
        ({"column": "x", "max": 0.3}, float(np.float32(0.3))),  # stored as float32, which is over 0.3 as a double
        ({"column": "x", "min": 0.7}, float(np.float32(0.7))),
        ({"column": "x", "max": 0.5}, None),
        ({"column": "x", "max": 0.5}, float("nan")),
        ({"column": "x", "max": 1}, True),
    ],
)
def test_what_is_on_the_bound_or_unknown_stays(fields, value):
    document = judged(rule(**fields), x=value)
    assert document.alive
    assert document.columns["failed_rules"] == ""


def test_all_failed_rules_are_named_and_the_first_is_the_reason():
    config = FiltersConfig.model_validate({"gopher_quality": {"min_words": 10}, "rules": [{"column": "x", "max": 1}]})
    document = judged(config, words=3, mean_word_length=2.0, x=5)
    assert document.columns["failed_rules"] == "gopher_words,gopher_mean_word_length,x"
    assert document.reason == "gopher_words"


def test_thresholds_of_a_set_can_be_changed_and_taken_out():
    names = [r.name for r in rules_of(FiltersConfig.model_validate({"fineweb": True}))]
    assert names == [
        f"fineweb_{n}" for n in ("punctuated_lines", "short_lines", "duplicate_line_characters", "newline_ratio")
    ]
    changed = rules_of(FiltersConfig.model_validate({"fineweb": {"max_short_lines": None, "max_newline_ratio": 0.5}}))
    assert [r.name for r in changed] == [names[0], names[2], names[3]]
    assert changed[-1].max == 0.5
    assert rules_of(FiltersConfig.model_validate({"fineweb": False})) == []


def test_every_set_stands_on_signals_that_there_are():
    columns = required_columns(EVERYTHING)
    assert len(set(columns)) == len(columns)
    check_columns(EVERYTHING, ALL_COLUMNS)
    signals = with_columns(None, columns)
    check_columns(EVERYTHING, signals.columns)
    assert "mentions" not in signals.families


def test_a_rule_on_an_unknown_column_is_refused():
    with pytest.raises(UserError, match=r"the rule wrds is on the column wrds, which no step measures; nearest: words"):
        step(rule(column="wrds", min=1), ALL_COLUMNS)
    with pytest.raises(UserError, match="holds text, not numbers"):
        step(rule(column="language_detected", min=1), ALL_COLUMNS)
    step(rule(column="toxicity", max=1), {"toxicity": "float32"})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"column": "words"}, "neither min nor max"),
        ({"column": "words", "min": 2, "max": 1}, "lets nothing through"),
        ({"column": "words", "min": 2, "reason": "Too short"}, "reason"),
    ],
)
def test_a_senseless_rule_is_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        rule(**fields)


def test_two_rules_of_one_name_are_refused():
    twice = {"rules": [{"column": "words", "min": 1}, {"column": "words", "max": 9}]}
    with pytest.raises(ValidationError, match="two rules are called 'words'"):
        FiltersConfig.model_validate(twice)


NUMBERS = st.one_of(st.none(), st.floats(0, 1, width=32), st.sampled_from([0.1, 0.3, 0.65, float("nan")]))
ROWS = st.lists(
    st.tuples(NUMBERS, st.one_of(st.none(), st.integers(0, 9)), st.sampled_from(["en", "de", "fr", None]), NUMBERS),
    max_size=30,
)


@given(ROWS, st.integers(1, 7))
def test_the_preview_says_what_the_step_does(rows, size):
    config = FiltersConfig.model_validate(
        {
            "languages": ["en", "de"],
            "rules": [
                {"column": "x", "min": 0.1, "max": 0.3},
                {"column": "n", "max": 5, "missing": "drop"},
            ],
        }
    )
    names = ("x", "n", "language_detected", "language_score")
    documents = [Document(str(i), "text", columns=dict(zip(names, row, strict=True))) for i, row in enumerate(rows)]
    kinds = (pa.float32(), pa.int32(), pa.string(), pa.float32())
    arrays = {"id": pa.array([f"d{i}" for i in range(len(rows))], pa.string())} | {
        name: pa.array([row[i] for row in rows], kind) for i, (name, kind) in enumerate(zip(names, kinds, strict=True))
    }
    table = pa.table(arrays)
    seen = preview(table, config, samples=100)
    assert preview(iter(table.to_batches(max_chunksize=size)), config, samples=100) == seen
    step(config)(documents)
    failed = [document.columns["failed_rules"].split(",") for document in documents]
    assert seen.documents == len(rows)
    assert seen.dropped == sum(not document.alive for document in documents)
    for found in seen.rules:
        assert found.alone == sum(found.rule in names for names in failed)
        assert found.only == sum(names == [found.rule] for names in failed)
        assert found.first == sum(document.reason == found.rule for document in documents)
        assert sorted(found.samples) == sorted(f"d{i}" for i, names in enumerate(failed) if found.rule in names)


def test_samples_are_few_and_those_that_only_the_rule_drops_come_first():
    config = FiltersConfig.model_validate({"rules": [{"column": "x", "max": 1}, {"column": "y", "max": 1}]})
    table = pa.table({"id": list("abcdef"), "x": [2, 2, 2, 2, 0, 2], "y": [2, 2, 0, 0, 2, 0]})
    x, y = preview(table, config, samples=2).rules
    assert (x.samples, x.alone, x.only, x.first) == (["c", "d"], 5, 3, 5)
    assert (y.samples, y.alone, y.only, y.first) == (["e", "a"], 3, 1, 1)
    with pytest.raises(UserError, match="no step measures"):
        preview(table.drop_columns("y"), config)


def test_lines_are_taken_out_of_what_is_kept():
    text = "Home\nThis line stays here.[3]\nSay nothing of JavaScript, please.\n\n  And so does this one! \n"
    kept, empty = Document("a", text), Document("b", "Home\nAbout")
    made = step(FiltersConfig(c4_lines=True))
    made([kept, empty])
    assert kept.text == "This line stays here.\nAnd so does this one!"
    assert kept.columns == {"failed_rules": "", "c4_lines_removed": 2}
    assert (empty.reason, empty.text) == ("c4_no_lines", "Home\nAbout")
    assert set(made.columns) == {"failed_rules", "c4_lines_removed"}


LINES = st.text(alphabet="ab .!?\"'[3]\nİ", max_size=80)


@given(st.lists(st.one_of(LINES, st.sampled_from(["use of JavaScript is good.", "a b cookie policy."])), max_size=8))
def test_the_lines_that_are_kept_are_those_that_the_signal_counts(parts):
    text = "\n".join(parts)
    document, made = Document("a", text), signals_step(SignalsConfig(families=("c4",), language=None))
    made([document])
    before = document.columns["c4_line_fraction"]
    step(FiltersConfig(c4_lines=True))([document])
    lines = [line for line in text.split("\n") if line.strip()]
    kept = len(lines) - document.columns["c4_lines_removed"]
    assert before == pytest.approx(kept / max(1, len(lines)))
