"""Minimal chat templates in the manner of the families that people tune, written for the tests."""

CHATML = """{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
"""Plain ChatML."""

DEFAULT_SYSTEM = (
    "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}" + CHATML
)
"""SmolLM2's way: a system message is put in where there is none."""

LLAMA3 = """{{ bos_token }}{% for m in messages %}
{{- '<|head|>' + m.role + '<|/head|>\n\n' + m.content | trim + '<|eot|>' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|head|>assistant<|/head|>\n\n' }}{% endif %}"""
"""Llama 3's: trimmed contents, headers between tokens, no line end after a turn."""

MISTRAL = """{{ bos_token }}{% if messages[0].role == 'system' %}{% set system = messages[0].content + '\n\n' %}
{%- set messages = messages[1:] %}{% endif %}{% for m in messages %}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}
{%- if m.role == 'user' %}{{ '[INST] ' + (system if loop.first and system else '') + m.content + '[/INST]' }}
{%- else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"""
"""Mistral's: no header before the assistant's turns, the system message inside the first user's."""

QWEN = """{% if tools %}{{ '<|im_start|>system\nTools:' }}{% for t in tools %}{{ '\n' + t | tojson }}{% endfor %}
{{- '<|im_end|>\n' }}{% endif %}{% for m in messages %}
{%- if m.role == 'tool' %}
{{- '<|im_start|>user' if loop.first or messages[loop.index0 - 1].role != 'tool' }}
{{- '\n<result>\n' + m.content + '\n</result>' }}
{{- '<|im_end|>\n' if loop.last or messages[loop.index0 + 1].role != 'tool' }}
{%- else %}{{ '<|im_start|>' + m.role + '\n' + m.content }}{% for c in m.tool_calls or [] %}
{{- '\n' if m.content or not loop.first }}{{ '<call>' + c.function | tojson + '</call>' }}{% endfor %}
{{- '<|im_end|>\n' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
"""Qwen 2.5's: tools in a system message, calls in tags, results of several tools in one user's turn."""

GEMMA = """{{ bos_token }}{% for m in messages %}
{{- '<turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' + m.content | trim + '</turn>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<turn>model\n' }}{% endif %}"""
"""Gemma's: the assistant is called the model."""

PHI = """{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"""
"""Phi 3's: role tokens spelt by the role, and one more token where the conversation ends."""

THINKING = """{% set last = namespace(user=-1) %}{% for m in messages %}{% if m.role == 'user' %}
{%- set last.user = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}
{{- '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' and loop.index0 > last.user %}
{{- '<think>\n' + (m.reasoning_content or '') + '\n</think>\n\n' }}{% endif %}{{ m.content + '<|im_end|>\n' }}
{%- endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
"""Qwen 3's: reasoning is written for the last turn alone, and dropped from earlier ones."""

TAGGED = """{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}
{%- generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}{% else %}
{{- m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
"""ChatML that says itself what the assistant writes."""

SPECIALS = [
    *("<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|head|>", "<|/head|>", "<|eot|>", "[INST]", "[/INST]"),
    *("<turn>", "</turn>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
]
