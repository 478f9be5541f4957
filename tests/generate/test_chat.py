"""`bedplate chat` as a process: with a pipe, with one question, and at a real terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time

import pytest

import bedplate
from bedplate.console import Console
from bedplate.generate.chat import Conversation
from bedplate.generate.params import SamplingParams

SHORT = ("--max-tokens", "8", "--temperature", "0")


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "model"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def endless(make_model, tokenizer, tmp_path_factory):
    """A model that goes on until it is stopped."""
    path = tmp_path_factory.mktemp("endless") / "model"
    model = make_model(tokenizer, max_position_embeddings=10**6, eos_token_id=None)
    model.generation = {"eos_token_id": []}
    model.save(path)
    return path


def conversation(folder, **options):
    return Conversation(
        bedplate.load(folder), SamplingParams(**options), system=None, raw=False, console=Console.quiet()
    )


def test_one_question_gives_the_answer_alone(cli, folder, model):
    done = cli("chat", folder, "--prompt", "What?", *SHORT)
    assert done.returncode == 0, done.stderr
    expected = model.chat([{"role": "user", "content": "What?"}], max_tokens=8)
    assert done.stdout == expected.text + "\n"
    assert ("cut off after 8 tokens" in done.stderr) == (expected.finish_reason == "length")


def test_a_pipe_is_a_conversation(cli, folder, model):
    first, second = "My name is Bob.", "What is my name?"
    done = cli(
        "chat", folder, *SHORT, "--system", "Be brief.", stdin=f"{first}\n\n{second}\n/reset\n{first}\n/exit\nno\n"
    )
    assert done.returncode == 0, done.stderr
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": first}]
    one = model.chat(messages, max_tokens=8).text
    messages += [{"role": "assistant", "content": one}, {"role": "user", "content": second}]
    two = model.chat(messages, max_tokens=8).text
    assert done.stdout == f"{one}\n{two}\n{one}\n"


def test_raw_continues_the_text(cli, folder, model):
    done = cli("chat", folder, "--raw", "--prompt", "def main():", *SHORT)
    assert done.returncode == 0, done.stderr
    assert done.stdout == model.generate("def main():", max_tokens=8)[0].text + "\n"


def test_a_base_model_says_raw(cli, folder, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    for file in folder.iterdir():
        if file.name != "chat_template.jinja":
            (base / file.name).write_bytes(file.read_bytes())
    done = cli("chat", base, "--prompt", "hi")
    assert done.returncode == 2
    assert "--raw" in done.stderr
    assert done.stdout == ""


def test_broken_input_names_the_line(cli, folder):
    done = subprocess.run(
        [sys.executable, "-m", "bedplate", "chat", str(folder), *SHORT], input=b"hello\n\xff\xfe\n", capture_output=True
    )
    assert done.returncode == 2
    assert b"stdin line 2" in done.stderr


def test_a_seed_makes_it_repeatable(cli, folder):
    first, second = (cli("chat", folder, "--seed", "3", "--max-tokens", "8", stdin="a\na\n").stdout for _ in range(2))
    assert first == second


def test_the_oldest_turns_are_forgotten_when_the_context_is_full(folder, capsys):
    talk = conversation(folder, max_tokens=10)
    for n in range(12):
        list(talk.answer(f"message number {n}"))
    assert len(talk._fitting("message number 12")) <= 128 - 10
    assert 1 <= len(talk._turns) < 11
    assert talk._turns[-1][0] == "message number 11"
    assert "turns forgotten" in capsys.readouterr().err


def test_an_answer_that_is_stopped_is_remembered_as_far_as_it_came(endless):
    talk = conversation(endless, max_tokens=1000)
    answer = talk.answer("hello")
    heard = [next(answer) for _ in range(3)]
    answer.close()
    assert talk._turns == [("hello", "".join(heard))]


def test_the_models_own_settings_are_the_defaults(model, tokenizer):
    from bedplate.generate.chat import _params
    from bedplate.generate.model import TextModel

    own = {"do_sample": True, "temperature": 0.2, "top_p": 0.8, "top_k": 20, "eos_token_id": 2}
    params = _params(TextModel(model.config, model.net, tokenizer, own), None, None, 9, None)
    assert (params.temperature, params.top_p, params.top_k, params.max_tokens) == (0.2, 0.8, 20, 9)
    params = _params(TextModel(model.config, model.net, tokenizer, own), 1.0, 0.5, 9, 3)
    assert (params.temperature, params.top_p, params.seed) == (1.0, 0.5, 3)
    assert (
        _params(TextModel(model.config, model.net, tokenizer, {"do_sample": False}), None, None, 9, None).temperature
        == 0
    )


class Terminal:
    """A process at a pseudo-terminal of its own."""

    def __init__(self, *command: str) -> None:
        self.fd, slave = pty.openpty()
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**os.environ, "TERM": "dumb"},
        )
        os.close(slave)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def expect(self, pattern: str, *, insist: str = "") -> None:
        """Read until the pattern is seen, and forget what came up to its end. insist: what to type until then, again
        every other second (a signal in the instant before readline waits isn't noticed until something else comes)."""
        deadline = time.monotonic() + 60
        while not (match := re.search(pattern, self.seen)):
            assert time.monotonic() < deadline, f"no {pattern!r} in {self.seen[-500:]!r}"
            if insist:
                self.type(insist)
            while select.select([self.fd], [], [], 2)[0]:
                self.seen += os.read(self.fd, 65536).decode(errors="replace")
                if re.search(pattern, self.seen):
                    break
        self.seen = self.seen[match.end() :]


def test_ctrl_c_stops_the_answer_and_not_the_conversation(endless):
    terminal = Terminal(sys.executable, "-m", "bedplate", "chat", str(endless), "--max-tokens", "100000")
    terminal.expect("/help")
    terminal.expect("> ")
    terminal.type("hello\n")
    terminal.expect(r"hello\r\n[^>]{20}")
    terminal.type("\x03")
    terminal.expect("stopped")
    terminal.expect("> ")
    terminal.expect("Ctrl-D or /exit", insist="\x03")
    terminal.expect("> ")
    terminal.type("/help\n")
    terminal.expect("/reset")
    terminal.expect("> ")
    terminal.type("\x04")
    assert terminal.process.wait(30) == 0


def test_a_models_control_characters_are_shown_and_not_obeyed(monkeypatch):
    import io

    from bedplate.generate.chat import _show

    class Screen(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdout", screen := Screen())
    _show(iter(["a\x1b[2Jb\n", "\tc\x9b"]))
    assert "\x1b" not in screen.getvalue()
    assert "\x9b" not in screen.getvalue()
    assert "a␛[2Jb\n\tc" in screen.getvalue()
