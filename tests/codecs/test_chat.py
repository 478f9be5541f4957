"""Chat templates: the text equals that of transformers' `apply_chat_template`; hostile templates are stopped."""

from __future__ import annotations

import time

import pytest

from bedplate.codecs.chat import render
from bedplate.codecs.sandbox import Limits
from bedplate.codecs.text import TextTokenizer
from bedplate.errors import InputError

CHATML = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are helpful.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
INST = """{%- if messages[0].role == 'system' %}
    {%- set system = messages[0].content | trim %}
    {%- set messages = messages[1:] %}
{%- endif %}
{{- bos_token }}
{%- for message in messages %}
    {%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('roles must alternate') }}
    {%- endif %}
    {%- if message.role == 'user' %}
        {{- '[INST] ' ~ (system ~ '\n\n' if loop.first and system is defined else '') ~ message.content ~ ' [/INST]' }}
    {%- else %}
        {%- generation %}{{ ' ' + message.content + eos_token }}{% endgeneration %}
    {%- endif %}
{%- endfor %}
"""
TOOLS = """{% macro describe(tool) %}
- {{ tool.function.name }}: {{ tool.function.description | upper | replace('_', ' ') }}
{%- for key, value in tool.function.parameters.properties.items() %}
  {{ key }} ({{ value.type }}){{ ',' if not loop.last }}
{%- endfor %}
{% endmacro %}
{% if tools %}
{{ tools | tojson(indent=2) }}
{% for tool in tools %}{{ describe(tool) }}{% endfor %}
{% endif %}
{% set ns = namespace(calls=0, text='') %}
{% for m in messages %}
  {% if m.role == 'skip' %}{% continue %}{% endif %}
  {% if m.tool_calls is defined and m.tool_calls %}
    {% for c in m.tool_calls %}{% set ns.calls = ns.calls + 1 %}<call>{{ c | tojson }}</call>
    {% endfor %}
  {% else %}
    {% set ns.text = ns.text ~ m.role ~ ':' ~ loop.index %}
{{ '%-10s|' % m.role }}{{ '{:>8}'.format(m.role) }} {{ m.content.split(' ') | join('+') }}
  {% endif %}
  {% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}
{% endfor %}
{{ ns.calls }} {{ ns.text }} {{ documents is none }} {{ {'a': 1, 'b': [true, none, 1.5]} }} {{ [1, 2] + [3] }}
{{ 2 ** 5 * 3 }}
{{ 'user' in messages | map(attribute='role') | list }} {{ messages | length }} {{ 'ü<&>' | tojson }} {{ dict(a=1) }}
{% if add_generation_prompt %}{{ extra | default('none') }}: {% endif %}
"""
WITH_TOOLS = [
    {"role": "user", "content": "How warm is it in Köln? <b>&amp;"},
    {"role": "skip", "content": "x"},
    {"role": "assistant", "tool_calls": [{"name": "weather", "arguments": {"city": "Köln", "days": [1, 2.5, None]}}]},
    {"role": "tool", "content": '{"t": 21}'},
    {"role": "assistant", "content": "It is 21 degrees.", "reasoning": "read it off"},
]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "the_weather in a town",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "array"}}},
    },
}
TURNS = [
    {"role": "system", "content": " Be brief. "},
    {"role": "user", "content": "Hi\n"},
    {"role": "assistant", "content": "Hello 🙂"},
    {"role": "user", "content": "Bye"},
]


@pytest.fixture(scope="module")
def theirs(byte_level, tmp_path_factory):
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    byte_level.save(folder)
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("add_generation_prompt", [True, False])
@pytest.mark.parametrize("tools", [None, [WEATHER]])
@pytest.mark.parametrize("template", [CHATML, INST, TOOLS], ids=["chatml", "inst", "tools"])
def test_text_equals_transformers(theirs, template, tools, add_generation_prompt):
    messages = WITH_TOOLS if template is TOOLS else TURNS
    expected = theirs.apply_chat_template(
        messages,
        chat_template=template,
        tools=tools,
        add_generation_prompt=add_generation_prompt,
        tokenize=False,
        extra="more",
    )
    ours = render(
        template,
        messages,
        tools=tools,
        add_generation_prompt=add_generation_prompt,
        bos_token="<s>",
        eos_token="</s>",
        extra="more",
    )
    assert ours == expected
    assert ours.strip()


def test_named_tokens_of_a_tokenizer_are_what_templates_read(byte_level: TextTokenizer):
    assert render("{{ bos_token }}|{{ eos_token }}", [], **byte_level.named_tokens) == "<s>|</s>"


def test_the_date_is_today():
    assert render("{{ strftime_now('%Y-%m-%d') }}", []) == time.strftime("%Y-%m-%d")


def test_messages_are_not_changed():
    message = {"role": "user", "content": "x", "reasoning": "y"}
    render("{{ messages[0].thinking }}", [message])
    assert message == {"role": "user", "content": "x", "reasoning": "y"}


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ raise_exception('roles must alternate') }}", "refuses these messages: roles must alternate"),
        ("one\n{% if x", "broken at line 2"),
        ("one\ntwo {{ messages[7].content.text }}", "fails at line 2 with UndefinedError"),
        ("{{ 1 + 'a' }}", "TypeError"),
        ("x" * 300_000, "300000 characters"),
    ],
)
def test_broken_templates_say_where(template, says):
    with pytest.raises(InputError) as error:
        render(template, TURNS)
    assert says in error.value.problem
    assert error.value.fix


@pytest.mark.parametrize("messages", ["hi", [1], None, {"role": "user"}])
def test_messages_must_be_a_list_of_objects(messages):
    with pytest.raises(InputError, match="not a list of objects"):
        render(CHATML, messages)


def test_only_json_data_reaches_a_template():
    with pytest.raises(
        InputError, match=r"messages\[0\]\.content\[1\]: a TextTokenizer|messages\[0\]\.content\[1\]: a object"
    ):
        render("{{ messages }}", [{"role": "user", "content": ["x", object()]}])


GROW = "{% set ns = namespace(x=START) %}{% for i in range(60) %}{% set ns.x = STEP %}{% endfor %}{{ ns.x }}"
HOSTILE = {
    "nested loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "nested filtered loops": "{% for a in range(99999) %}{% for b in range(99999) if false %}{% endfor %}{% endfor %}",
    "huge range": "{{ range(10 ** 9) | list }}",
    "repeated text": "{{ 'a' * 10 ** 10 }}",
    "repeated list": "{{ [1] * 10 ** 9 }}",
    "power": "{{ 9 ** (10 ** 9) }}",
    "power of powers": GROW.replace("START", "9").replace("STEP", "ns.x * ns.x"),
    "doubled by ~": GROW.replace("START", "'ab'").replace("STEP", "ns.x ~ ns.x"),
    "doubled by +": GROW.replace("START", "'ab'").replace("STEP", "ns.x + ns.x"),
    "list in itself": GROW.replace("START", "[1]").replace("STEP", "[ns.x, ns.x]"),
    "list in itself as JSON": GROW.replace("START", "[1]")
    .replace("STEP", "[ns.x, ns.x]")
    .replace("ns.x }}", "ns.x|tojson }}"),
    "compared": "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}"
    "{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
    "padding": "{{ 'x' | center(10 ** 10) }}",
    "method padding": "{{ 'x'.ljust(10 ** 10) }}",
    "zeros": "{{ 'x'.zfill(10 ** 10) }}",
    "tabs": "{{ '\t\t'.expandtabs(10 ** 10) }}",
    "indent": "{{ 'a\nb' | indent(10 ** 10) }}",
    "format width": "{{ '%10000000000d' % 1 }}",
    "format filter": "{{ '%*d' | format(10 ** 10, 1) }}",
    "brace width": "{{ '{:10000000000}'.format(1) }}",
    "nested brace width": "{{ '{:{}}'.format(1, 10 ** 10) }}",
    "replace": "{{ ('a' * 10 ** 6).replace('a', 'b' * 10 ** 6) }}",
    "replace filter": "{{ ('a' * 10 ** 6) | replace('a', 'b' * 10 ** 6) }}",
    "join": "{{ range(99999) | join('x' * 10 ** 6) }}",
    "join method": "{{ ('x' * 10 ** 6).join(['a'] * 10 ** 5) }}",
    "mapped": "{{ ['a'] | map('center', 10 ** 10) | list }}",
    "batches": "{{ [1] | batch(10 ** 9, 'x') | list }}",
    "JSON indent": "{{ messages | tojson(indent=10 ** 9) }}",
    "date width": "{{ strftime_now('%9999999999d') }}",
    "macro recursion": "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "nested brackets": "{{" + "(" * 20_000 + "1" + ")" * 20_000 + "}}",
    "class": "{{ ''.__class__.__mro__ }}",
    "class by format": "{{ '{0.__class__.__mro__}'.format('') }}{{ ''.__class__.x }}",
    "globals": "{{ cycler.__init__.__globals__ }}",
    "namespace": "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
    "mutation": "{{ messages.append(1) }}",
    "import": "{% import 'os' as os %}",
    "include": "{% include '/etc/passwd' %}",
}


@pytest.mark.parametrize("template", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_templates_are_stopped(template):
    started = time.monotonic()
    with pytest.raises(InputError, match="the chat template"):
        render(template, TURNS, limits=Limits(seconds=0.3))
    assert time.monotonic() - started < 5  # the limit, one bounded step, and room for a busy machine


@pytest.mark.parametrize(
    "way_out", ["''['__class__']", "''|attr('__class__')", "messages.__class__", "'{0.__class__}'.format('')"]
)
def test_ways_out_lead_nowhere(way_out):
    assert "class" not in render("{{ " + way_out + " }}", TURNS)


def test_long_conversations_are_no_attack():
    messages = [{"role": "user" if i % 2 == 0 else "assistant", "content": "word " * 200} for i in range(2000)]
    assert len(render(INST, messages)) > 2_000_000
    assert render(TOOLS, messages)
