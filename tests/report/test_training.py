"""The training page from real metric files: whole, cut off, broken, empty, and with figures that aren't numbers."""

import json
import math

import pytest

from bedplate.errors import InputError
from bedplate.report.training import read_metrics, training_page


def row(step, **more):
    loss = 2 + 7 * math.exp(-step / 40)
    return {"step": step, "loss": loss, "bits_per_byte": loss / 2.4, "tokens_per_s": 9000.0, "mfu": 0.36, "lr": 3e-4,
            "grad_norm": 1.0, "time_s": step * 0.5, **more}  # fmt: skip


def write(path, rows, tail=""):
    path.write_text("".join(json.dumps(r) + "\n" for r in rows) + tail)
    return path


def test_the_whole_page(tmp_path, check_page):
    rows = [
        row(s, **({"validation": {"loss": 2.5, "bits_per_byte": 3.0 - s / 100}} if s % 50 == 0 else {}))
        for s in range(1, 101)
    ]
    html = training_page(write(tmp_path / "metrics.jsonl", rows), title="quickstart <model>", steps=300, finished=False)
    text = check_page(html)
    assert "Step 100 of 300; still training." in text
    assert "2 at step 100" in text
    assert "9,000 tokens/s" in text
    assert "36.0%" in text
    assert html.count("<svg") == 6
    assert "All 2 validations" in text


def test_a_line_cut_off_by_a_kill_is_left_out(tmp_path):
    path = write(tmp_path / "metrics.jsonl", [row(1), row(2)], tail='{"step": 3, "loss": 2.')
    assert [r["step"] for r in read_metrics(path)] == [1, 2]
    # Cut within a character, too.
    path.write_bytes(path.read_bytes() + "é".encode()[:1])
    assert len(read_metrics(path)) == 2


@pytest.mark.parametrize("bad", ["not json", "[1, 2]", '{"loss": 2}', '{"step": "one"}', '{"step": true}'])
def test_a_broken_line_is_named(tmp_path, bad):
    path = tmp_path / "metrics.jsonl"
    path.write_text(f"{json.dumps(row(1))}\n{bad}\n{json.dumps(row(2))}\n")
    with pytest.raises(InputError, match=r"metrics\.jsonl line 2") as caught:
        read_metrics(path)
    assert caught.value.fix


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="can't be read"):
        training_page(tmp_path / "none.jsonl", title="t")


def test_nothing_logged_yet(tmp_path, check_page):
    text = check_page(training_page(write(tmp_path / "metrics.jsonl", []), title="t", finished=False))
    assert "No step has been logged yet" in text


def test_a_loss_that_is_no_number_is_said(tmp_path, check_page):
    rows = [row(1), row(2, loss=math.nan), row(3, loss=math.inf, grad_norm=-1.0, mfu=None), row(4) | {"step": 10**400}]
    text = check_page(training_page(write(tmp_path / "metrics.jsonl", rows), title="t"))
    assert "not a finite number at 2 logged steps, first at step 2" in text


def test_only_some_figures(tmp_path, check_page):
    html = training_page(write(tmp_path / "metrics.jsonl", [{"step": 1, "loss": 5.0}]), title="t")
    check_page(html)
    assert html.count("<svg") == 1


def test_an_exploding_gradient_is_drawn_by_orders_of_magnitude(tmp_path):
    path = write(tmp_path / "metrics.jsonl", [row(s, grad_norm=1e4 if s == 5 else 1.0) for s in range(1, 10)])
    assert ">100</text>" in training_page(path, title="t")
