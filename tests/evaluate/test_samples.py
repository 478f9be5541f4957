"""What counts as parsing: the cutting rule, nothing executed, and hostile text."""

from __future__ import annotations

import pytest

from bedplate.evaluate.samples import cut_back, cut_documents, draw, parses, parsing_lines, summarise


def test_cut_back_to_the_last_line_break_unless_ended():
    assert cut_back("a = 1\nb = ", ended=False) == "a = 1\n"
    assert cut_back("a = 1", ended=True) == "a = 1"
    assert cut_back("a = ", ended=False) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\n", True),
        ("", False),
        ("# only a comment\n", False),
        ("def f():\n", False),
        ("x = '\\d'\n", True),  # a SyntaxWarning, which stays silent
        ("x = 1\0\n", False),
        ("(" * 5000, False),
        ("-" * 100_000 + "1", False),
    ],
)
def test_parses(text, expected, recwarn):
    assert parses(text) is expected
    assert not recwarn.list


def test_nothing_is_executed(tmp_path):
    witness = tmp_path / "executed"
    assert parses(f"open({str(witness)!r}, 'w').write('x')\n")
    assert not witness.exists()


def test_the_longest_parsing_start():
    assert parsing_lines("a = 1\nb = 2\nc = (\nd\n") == 2
    assert parsing_lines("a = 1\ndef f():\n    return 1\n") == 3
    assert parsing_lines("def\n") == 0
    assert parsing_lines("a = '\x0c'\nb = 1\n") == 2  # a form feed ends no line


def test_summary_and_reference(byte_tokenizer):
    texts = ["a = 1\n", "def f(:\n", "b = 2\nc = [\n"]
    summary = summarise(texts)
    assert summary["texts"] == 3
    assert summary["parses"] == pytest.approx(1 / 3)
    assert summary["parsing_line_share"] == pytest.approx(2 / 4)
    assert cut_documents(["a = 1\nbcd = 2\n", "a = 1\n"], byte_tokenizer, 10) == ["a = 1\n", "a = 1\n"]


def test_samples_are_reproducible_and_begin_with_their_prompts(make_model):
    model = make_model()
    options = {"start": 256, "max_tokens": 12, "temperature": 1.0, "top_p": 1.0, "seed": 3}
    drawn = draw(model, ["import ", "def "], 5, **options)
    assert [sample.prompt for sample in drawn] == ["import ", "def ", "import ", "def ", "import "]
    assert drawn == draw(model, ["import ", "def "], 5, **options)
    assert len({sample.text for sample in drawn}) > 1 or all(not sample.text for sample in drawn)
    assert all(sample.text == "" or sample.text.startswith(sample.prompt) for sample in drawn)
    assert {"text", "parses", "lines", "parsing_lines"} <= set(drawn[0].row())
