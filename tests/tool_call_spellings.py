"""Tool calls as model families spell them in text: what is to be read, refused, and left alone."""

from typing import Any

Calls = list[tuple[str, dict[str, Any]]]

SEGMENT: Calls = [("segment", {"phrases": ["blue kite"]})]
TWO: Calls = [("segment", {"phrases": ["blue kite", "old man"], "threshold": 0.35})]
LOOK: Calls = [("look", {"numbers": [2, 5]})]
MEASURE: Calls = [("measure", {"numbers": [4]})]
EDIT: Calls = [("edit", {"action": "drop", "numbers": [3]})]
ANSWER: Calls = [("answer", {"text": "It's the [kite](2).", "numbers": [2]})]
BOTH: Calls = [*SEGMENT, *LOOK]

_SEGMENT = '{"name": "segment", "arguments": {"phrases": ["blue kite"]}}'
_LOOK = '{"name": "look", "arguments": {"numbers": [2, 5]}}'

READ: dict[str, tuple[str, Calls]] = {
    # Hermes, Qwen 2.5 and 3, and all that follow them
    "Hermes": (f"<tool_call>\n{_SEGMENT}\n</tool_call>", SEGMENT),
    "Hermes, not closed": (f"I will look.\n<tool_call>\n{_SEGMENT}", SEGMENT),
    "Hermes, a brace missing": (f"<tool_call>\n{_SEGMENT[:-1]}\n</tool_call>", SEGMENT),
    "Hermes, several": (f"<tool_call>{_SEGMENT}</tool_call>\n<tool_call>{_LOOK}</tool_call>", BOTH),
    "Hermes, several in one": (f"<tool_call>\n{_SEGMENT}\n{_LOOK}\n</tool_call>", BOTH),
    "Hermes, a fence inside": (f"<tool_call>\n```json\n{_SEGMENT}\n```\n</tool_call>", SEGMENT),
    "Hermes, inside a fence": (f"```xml\n<tool_call>\n{_SEGMENT}\n</tool_call>\n```", SEGMENT),
    "Hermes, arguments as text": (
        '<tool_call>{"name": "look", "arguments": "{\\"numbers\\": [2, 5]}"}</tool_call>',
        LOOK,
    ),
    "Hermes, single quotes": (
        "<tool_call>{'name': 'segment', 'arguments': {'phrases': ['blue kite']}}</tool_call>",
        SEGMENT,
    ),
    "Hermes, words before and after": (
        f"Sure!\n<tool_call>{_SEGMENT}</tool_call>\nThen I count them.",
        SEGMENT,
    ),
    "Hermes after reasoning": (
        f"<think>Maybe {_LOOK}, or <tool_call>{_LOOK}</tool_call>?</think>"
        f"<tool_call>{_SEGMENT}</tool_call>",
        SEGMENT,
    ),
    "Hermes, markers in the arguments": (
        '<tool_call>{"name": "answer", "arguments": {"text": "A sign: <tool_call> </tool_call> '
        '<think>", "numbers": []}}</tool_call>',
        [("answer", {"text": "A sign: <tool_call> </tool_call> <think>", "numbers": []})],
    ),
    "Hermes, no name": ('<tool_call>{"phrases": ["blue kite"]}</tool_call>', SEGMENT),
    "upper case": (f"<TOOL_CALL>{_SEGMENT}</TOOL_CALL>", SEGMENT),
    "Granite 3": (f"<|tool_call|>[{_SEGMENT}, {_LOOK}]", BOTH),
    "Granite 4": (f"<tool_call>[{_SEGMENT}]</tool_call>", SEGMENT),
    "Phi-4-mini": (f"<|tool_call|>[{_SEGMENT}]<|/tool_call|>", SEGMENT),
    "Phi-4": (f"functools[{_SEGMENT}]", SEGMENT),
    "Jamba": (f"<tool_calls>[\n  {_SEGMENT},\n  {_LOOK}\n]</tool_calls>", BOTH),
    "MiniMax M1": (f"<tool_calls>\n{_SEGMENT}\n{_LOOK}\n</tool_calls>", BOTH),
    "Nemotron": (f"<TOOLCALL>[{_LOOK}]</TOOLCALL>", LOOK),
    "InternLM": (f"<|action_start|><|plugin|>\n{_LOOK}<|action_end|>", LOOK),
    "Apertus": ('<|tools_prefix|>[{"look": {"numbers": [2, 5]}}]<|tools_suffix|>', LOOK),
    "ERNIE": (f"<tool_call>\n{_SEGMENT}\n</tool_call>\n</tool_calls>", SEGMENT),
    "Granite 20B": (f"<function_call>{_SEGMENT}", SEGMENT),
    "LFM2 with JSON": (f"<|tool_call_start|>[{_LOOK}]<|tool_call_end|>", LOOK),
    "Llama 3.1 with JSON": (
        '<|python_tag|>{"name": "look", "parameters": {"numbers": [2, 5]}}<|eom_id|>',
        LOOK,
    ),
    "Llama 3.1, a function's tag": ('<function=look>{"numbers": [2, 5]}</function>', LOOK),
    "Command R": (
        'Action: ```json\n[\n    {\n        "tool_name": "look",\n        "parameters": '
        '{"numbers": [2, 5]}\n    }\n]\n```',
        LOOK,
    ),
    "Command A": (
        "<|START_THINKING|>I call look({}).<|END_THINKING|><|START_ACTION|>[\n"
        '{"tool_call_id": "0", "tool_name": "look", "parameters": {"numbers": [2, 5]}}\n'
        "]<|END_ACTION|>",
        LOOK,
    ),
    "xLAM": (f'{{"tool_calls": [{_SEGMENT}, {_LOOK}]}}', BOTH),
    "xLAM, a list": (f"[{_SEGMENT}, {_LOOK}]", BOTH),
    # tags with parameters
    "Qwen3-Coder": (
        "<tool_call>\n<function=segment>\n<parameter=phrases>\n"
        '["blue kite", "old man"]\n</parameter>\n<parameter=threshold>\n0.35\n</parameter>\n'
        "</function>\n</tool_call>",
        TWO,
    ),
    "Qwen 3.5 after reasoning": (
        "I need the kite first.\n</think>\n\n<tool_call>\n<function=segment>\n"
        "<parameter=phrases>\nblue kite\n</parameter>\n</function>\n</tool_call>",
        SEGMENT,
    ),
    "Qwen3-Coder, no opening tag": (
        "<function=look>\n<parameter=numbers>\n[2, 5]\n</parameter>\n</function>\n</tool_call>",
        LOOK,
    ),
    "Qwen3-Coder, a parameter not closed": (
        "<tool_call>\n<function=measure>\n<parameter=numbers>\n[4]\n</function>\n</tool_call>",
        MEASURE,
    ),
    "Qwen3-Coder, several": (
        "<tool_call>\n<function=segment>\n<parameter=phrases>\n['blue kite']\n</parameter>\n"
        "</function>\n</tool_call>\n<tool_call>\n<function=look>\n<parameter=numbers>\n[2, 5]\n"
        "</parameter>\n</function>\n</tool_call>",
        BOTH,
    ),
    "Qwen3-Coder, text like numbers": (
        "<tool_call><function=answer><parameter=text>42</parameter><parameter=numbers>[2]"
        "</parameter></function></tool_call>",
        [("answer", {"text": "42", "numbers": [2]})],
    ),
    "Qwen3-Coder, a truth value": (
        "<tool_call><function=segment><parameter=phrases>blue kite</parameter>"
        "<parameter=counting>True</parameter><parameter=region>null</parameter></function>"
        "</tool_call>",
        [("segment", {"phrases": ["blue kite"], "counting": True})],
    ),
    "Seed-OSS": (
        "<seed:think>look({})?</seed:think><seed:tool_call>\n<function=look>\n"
        "<parameter=numbers>[2, 5]</parameter>\n</function>\n</seed:tool_call>",
        LOOK,
    ),
    "MiniMax M2": (
        '<minimax:tool_call>\n<invoke name="segment">\n<parameter name="phrases">["blue kite"]'
        '</parameter>\n</invoke>\n<invoke name="look">\n<parameter name="numbers">[2, 5]'
        "</parameter>\n</invoke>\n</minimax:tool_call>",
        BOTH,
    ),
    "Anthropic's tags": (
        '<function_calls>\n<invoke name="edit">\n<parameter name="action">drop</parameter>\n'
        '<parameter name="numbers">3</parameter>\n</invoke>\n</function_calls>',
        EDIT,
    ),
    "Anthropic's tags, alone": (
        '<invoke name="answer"><parameter name="text">It\'s the [kite](2).</parameter>'
        '<parameter name="numbers">[2]</parameter></invoke>',
        ANSWER,
    ),
    "Anthropic's first tags": (
        "<function_calls><invoke><tool_name>look</tool_name><parameters><numbers>[2, 5]</numbers>"
        "</parameters></invoke></function_calls>",
        LOOK,
    ),
    "tags named by the argument": (
        '<tool_call><invoke name="segment"><phrases><item>blue kite</item><item>old man</item>'
        "</phrases><threshold>0.35</threshold></invoke></tool_call>",
        TWO,
    ),
    "MiniCPM": (
        '<function name="segment"><param name="phrases"><![CDATA[["blue kite"]]]></param>'
        "</function>",
        SEGMENT,
    ),
    "DeepSeek V3.2": (
        '<｜DSML｜function_calls>\n<｜DSML｜invoke name="segment">\n<｜DSML｜parameter '
        'name="phrases" string="false">["blue kite"]</｜DSML｜parameter>\n</｜DSML｜invoke>\n'
        "</｜DSML｜function_calls>",
        SEGMENT,
    ),
    "DeepSeek V3.2 with JSON": (
        '<｜DSML｜function_calls>\n<｜DSML｜invoke name="look">\n{"numbers": [2, 5]}\n'
        "</｜DSML｜invoke>\n</｜DSML｜function_calls>",
        LOOK,
    ),
    "DeepSeek V4.1": (
        'hm</think>\n\n<｜DSML｜ calls>\n<｜DSML｜ invoke name="look">\n<｜DSML｜ parameter '
        'name="numbers" string="false">[2, 5]</｜DSML｜ parameter>\n</｜DSML｜ invoke>\n'
        "</｜DSML｜ calls>",
        LOOK,
    ),
    "Step 3": (
        '<｜tool_calls_begin｜><｜tool_call_begin｜>function<｜tool_sep｜><steptml:invoke '
        'name="look"><steptml:parameter name="numbers">[2, 5]</steptml:parameter>'
        "</steptml:invoke><｜tool_call_end｜><｜tool_calls_end｜>",
        LOOK,
    ),
    "Kimi K3": (
        '<|open|>tools<|sep|><|open|>call tool="answer" index="1"<|sep|><|open|>argument '
        'key="text" type="string"<|sep|>It\'s the [kite](2).<|close|>argument<|sep|><|open|>'
        'argument key="numbers" type="array"<|sep|>[2]<|close|>argument<|sep|><|close|>call<|sep|>'
        "<|close|>tools<|sep|>",
        ANSWER,
    ),
    # <arg_key> and <arg_value>
    "GLM 4.5": (
        "<tool_call>segment\n<arg_key>phrases</arg_key>\n<arg_value>[\"blue kite\", \"old man\"]"
        "</arg_value>\n<arg_key>threshold</arg_key>\n<arg_value>0.35</arg_value>\n</tool_call>",
        TWO,
    ),
    "GLM 4.7": (
        "hm</think><tool_call>segment<arg_key>phrases</arg_key><arg_value>blue kite</arg_value>"
        "</tool_call><tool_call>look<arg_key>numbers</arg_key><arg_value>[2, 5]</arg_value>"
        "</tool_call>",
        BOTH,
    ),
    "GLM, the last value not closed": (
        "<tool_call>measure<arg_key>numbers</arg_key><arg_value>[4]</tool_call>",
        MEASURE,
    ),
    "Hunyuan 3": (
        "<tool_calls>\n<tool_call>look<tool_sep>\n<arg_key>numbers</arg_key>\n<arg_value>[2, 5]"
        "</arg_value>\n</tool_call>\n</tool_calls>",
        LOOK,
    ),
    "LongCat": (
        "<longcat_tool_call>look\n<longcat_arg_key>numbers</longcat_arg_key>\n<longcat_arg_value>"
        "[2, 5]</longcat_arg_value>\n</longcat_tool_call>",
        LOOK,
    ),
    # Gemma
    "Gemma 4": ('<|tool_call>call:segment{phrases:[<|"|>blue kite<|"|>]}<tool_call|>', SEGMENT),
    "Gemma 4, several": (
        '<|channel>thought\ncall:answer{}?<channel|><|tool_call>call:segment{phrases:[<|"|>blue '
        'kite<|"|>]}<tool_call|><|tool_call>call:look{numbers:[2,5]}<tool_call|>',
        BOTH,
    ),
    "Gemma 4, brackets in text": (
        '<|tool_call>call:answer{numbers:[2],text:<|"|>a, "b": {c}<|"|>}<tool_call|>',
        [("answer", {"numbers": [2], "text": 'a, "b": {c}'})],
    ),
    "Gemma 4 with JSON's quotes": ('<|tool_call>call:segment{"phrases":["blue kite"]}', SEGMENT),
    "Gemma 4, marks stripped": ('call:segment{phrases:["blue kite"]}', SEGMENT),
    "FunctionGemma": (
        "<start_function_call>call:segment{phrases:[<escape>blue kite<escape>]}"
        "<end_function_call>",
        SEGMENT,
    ),
    "Gemma 3": ("```tool_code\nprint(segment(phrases=['blue kite']))\n```", SEGMENT),
    # Python
    "Llama 4": ('[segment(phrases=["blue kite"])]', SEGMENT),
    "Llama 4, several": ('[segment(phrases=["blue kite"]), look(numbers=[2, 5])]', BOTH),
    "Llama 4 with marks": (
        "<|python_start|>[segment(phrases=['blue kite'])]<|python_end|><|eot|>",
        SEGMENT,
    ),
    "Llama 4, over several lines": (
        '[\n    segment(phrases=["blue kite"]),\n    look(numbers=[2, 5]),\n]',
        BOTH,
    ),
    "LFM2": ('<|tool_call_start|>[look(numbers=[2, 5])]<|tool_call_end|>Looking.', LOOK),
    "Python over several lines": ('segment(\n    phrases=["blue kite"],\n)', SEGMENT),
    "Python with a result": ('```python\nmasks = segment(phrases=["blue kite"])\n```', SEGMENT),
    "Python with JSON's words": (
        'segment(phrases=["blue kite"], counting=true)',
        [("segment", {"phrases": ["blue kite"], "counting": True})],
    ),
    "Python with an object": ('look({"numbers": [2, 5]})', LOOK),
    # a name before JSON
    "Mistral 11": ('[TOOL_CALLS]look[ARGS]{"numbers": [2, 5]}', LOOK),
    "Mistral 11, several": (
        '[TOOL_CALLS]segment[ARGS]{"phrases": ["blue kite"]}[TOOL_CALLS]look[ARGS]{"numbers": '
        "[2, 5]}",
        BOTH,
    ),
    "Mistral with an id": ('[TOOL_CALLS]look[CALL_ID]a1B2c3D4e[ARGS]{"numbers": [2, 5]}</s>', LOOK),
    "Mistral's list": (
        'Sure.[TOOL_CALLS] [{"name": "look", "arguments": {"numbers": [2, 5]}, "id": "a1b2c3d4"}]',
        LOOK,
    ),
    "Magistral": ('[THINK]look[ARGS]{}[/THINK][TOOL_CALLS]measure[ARGS]{"numbers": [4]}', MEASURE),
    "Kimi K2": (
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.segment:0"
        '<|tool_call_argument_begin|>{"phrases": ["blue kite"]}<|tool_call_end|><|tool_call_begin|>'
        'functions.look:1<|tool_call_argument_begin|>{"numbers": [2, 5]}<|tool_call_end|>'
        "<|tool_calls_section_end|>",
        BOTH,
    ),
    "Kimi, marks stripped": ('functions.look:0{"numbers": [2, 5]}', LOOK),
    "DeepSeek V3": (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>look\n```json\n"
        '{"numbers": [2, 5]}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
        LOOK,
    ),
    "DeepSeek V3.1": (
        '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>segment<｜tool▁sep｜>{"phrases": ["blue kite"]}'
        '<｜tool▁call▁end｜><｜tool▁call▁begin｜>look<｜tool▁sep｜>{"numbers": [2, 5]}'
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        BOTH,
    ),
    "harmony": (
        "<|channel|>analysis<|message|>I call look({})<|end|><|start|>assistant<|channel|>"
        'commentary to=functions.look <|constrain|>json<|message|>{"numbers": [2, 5]}<|call|>',
        LOOK,
    ),
    "harmony, the recipient first": (
        "<|start|>assistant to=functions.look<|channel|>commentary <|constrain|>json<|message|>"
        '{"numbers": [2, 5]}<|call|>',
        LOOK,
    ),
    "harmony, marks stripped": ('commentary to=functions.look json{"numbers": [2, 5]}', LOOK),
    "harmony, two messages": (
        "<|channel|>commentary<|message|>First the kite.<|end|><|start|>assistant<|channel|>"
        'commentary to=functions.segment<|message|>{"phrases": ["blue kite"]}<|call|>',
        SEGMENT,
    ),
    "GLM 4 of 2024": ('look\n{"numbers": [2, 5]}', LOOK),
    "Functionary": ('>>>look\n{"numbers": [2, 5]}', LOOK),
    "a heading": ('**measure**\n```json\n{"numbers": [4]}\n```', MEASURE),
    "a name and a colon": ('edit: {"action": "drop", "numbers": [3]}', EDIT),
    # ReAct
    "ReAct": (
        'Thought: I must see them.\nAction: look\nAction Input: {"numbers": [2, 5]}\nObservation:',
        LOOK,
    ),
    "ReAct with a result that is made up": (
        "Action: segment\nAction Input: blue kite\nObservation: masks 1, 2\n"
        'Action: answer\nAction Input: {"text": "Two.", "numbers": [1, 2]}',
        SEGMENT,
    ),
    "Hermes with a result that is made up": (
        f"<tool_call>{_SEGMENT}</tool_call>\n<tool_response>masks 1</tool_response>\n"
        f"<tool_call>{_LOOK}</tool_call>",
        SEGMENT,
    ),
    "ReAct in bold": ('**Action:** `measure`\n**Action Input:** {"numbers": [4]}', MEASURE),
    "ReAct with a list": ("Action: measure\nAction Input: [4]", MEASURE),
    "ReAct with words": ("Action: segment\nAction Input: blue kite", SEGMENT),
    "ReAct in brackets": ("Thought: the kite.\nAction: segment[blue kite]", SEGMENT),
    "ReAct as Python": ('Action: segment(phrases=["blue kite"])', SEGMENT),
    "an action as JSON": (
        'Action:\n```\n{"action": "look", "action_input": {"numbers": [2, 5]}}\n```',
        LOOK,
    ),
    # other JSON
    "OpenAI's wire form": (
        '{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '
        '"{\\"numbers\\": [2, 5]}"}}',
        LOOK,
    ),
    "OpenAI's first form": (
        '{"function_call": {"name": "look", "arguments": "{\\"numbers\\": [2, 5]}"}}',
        LOOK,
    ),
    "tool and parameters": ('{"tool": "look", "parameters": {"numbers": [2, 5]}}', LOOK),
    "name and input": ('{"type": "tool_use", "name": "look", "input": {"numbers": [2, 5]}}', LOOK),
    "trailing commas": ('{"tool": "look", "arguments": {"numbers": [2, 5,],},}', LOOK),
    "typographic quotes": ("{“tool”: “segment”, “arguments”: {“phrases”: [“blue kite”]}}", SEGMENT),
    "escaped quotes": ('{\\"tool\\": \\"look\\", \\"arguments\\": {\\"numbers\\": [2, 5]}}', LOOK),
    "words before and after": (f"Let's see: {_LOOK} That shows it.", LOOK),
    "OpenAI's parallel calls": (
        'to=multi_tool_use.parallel {"tool_uses": [{"recipient_name": "functions.segment", '
        '"parameters": {"phrases": ["blue kite"]}}, {"recipient_name": "functions.look", '
        '"parameters": {"numbers": [2, 5]}}]}',
        BOTH,
    ),
    "AutoGPT": (
        '{"thoughts": {"text": "hm"}, "command": {"name": "look", "args": {"numbers": [2, 5]}}}',
        LOOK,
    ),
    "names as keys": (
        '{"segment": {"phrases": ["blue kite"]}, "look": {"numbers": [2, 5]}}',
        BOTH,
    ),
    "name and arguments in tags": (
        "<tool_use><name>look</name><arguments>{\"numbers\": [2, 5]}</arguments></tool_use>",
        LOOK,
    ),
    "Cline": (
        '<segment>\n<phrases>["blue kite", "old man"]</phrases>\n<threshold>0.35</threshold>\n'
        "</segment>",
        TWO,
    ),
    "DeepSeek with a keyboard's signs": (
        "<|tool_calls_begin|><|tool_call_begin|>function<|tool_sep|>look\n```json\n"
        '{"numbers": [2, 5]}\n```<|tool_call_end|><|tool_calls_end|>',
        LOOK,
    ),
    "Llama 3.1's built-in form": ("<|python_tag|>look.call(numbers=[2, 5])", LOOK),
    "Llama 3.1, several": (f"<|python_tag|>{_SEGMENT}; {_LOOK}", BOTH),
    "a name in brackets": ('[look] {"numbers": [2, 5]}', LOOK),
    "a call in a namespace": ('functions.look({"numbers": [2, 5]})', LOOK),
    "Python in Hermes' tags": ('<tool_call>look(numbers=[2, 5])</tool_call>', LOOK),
    "a name first in Hermes' tags": ('<tool_call>look: {"numbers": [2, 5]}</tool_call>', LOOK),
    "Hermes' tag at both ends": (f"<tool_call>{_LOOK}<tool_call>", LOOK),
    "Gemma 4, a part of the form lost": (
        '<|tool_call>segment{phrases:[<|"|>blue kite<|"|>]}<tool_call|>',
        SEGMENT,
    ),
    "Gemma 4's form around Python": ("<|tool_call>call:look(numbers=[2, 5])<tool_call|>", LOOK),
    "tags with quoted names": (
        '<function="look"><parameter="numbers">[2, 5]</parameter></function>',
        LOOK,
    ),
    "lines for a list": (
        "<function=segment>\n<parameter=phrases>\n- blue kite\n- old man\n</parameter>\n"
        "<parameter=threshold>.35</parameter></function>",
        TWO,
    ),
    "a function_call with a name": (
        '<function_call name="look">{"numbers": [2, 5]}</function_call>',
        LOOK,
    ),
    "harmony in the analysis": (
        '<|channel|>analysis to=functions.look code<|message|>{"numbers": [2, 5]}<|call|>',
        LOOK,
    ),
    "labels on lines": ('Tool Call: look\nArguments: {"numbers": [2, 5]}', LOOK),
    "a sentence that ends in JSON": ('Now the look tool: {"numbers": [2, 5]}', LOOK),
    "tool_input": ('{"tool_name": "look", "tool_input": {"numbers": [2, 5]}}', LOOK),
    "Python as text for arguments": (
        '{"tool": "look", "arguments": "{\'numbers\': [2, 5]}"}',
        LOOK,
    ),
    # YAML
    "YAML": ("tool: segment\narguments:\n  phrases:\n    - blue kite\n", SEGMENT),
    "YAML, several": (
        "```yaml\n- name: segment\n  arguments:\n    phrases: [blue kite]\n- name: look\n"
        "  arguments:\n    numbers: [2, 5]\n```",
        BOTH,
    ),
    "YAML, a list by name": (
        "tool_calls:\n  - name: look\n    arguments:\n      numbers:\n        - 2\n        - 5\n",
        LOOK,
    ),
    "YAML, the name as key": ("segment:\n  phrases:\n    - blue kite", SEGMENT),
    "YAML with JSON": ('name: "look"\narguments: {"numbers": [2, 5]}', LOOK),
    "YAML, flat": ("tool: edit\naction: drop\nnumbers:\n- 3", EDIT),
}  # fmt: skip

REFUSED: dict[str, tuple[str, str]] = {
    "an unknown tool": (
        "<tool_call><function=zoom><parameter=box>[1]</parameter></function></tool_call>",
        "no tool 'zoom'",
    ),
    "an unknown tool in Python": ("<|python_start|>[zoom(box=1)]<|python_end|>", "no tool 'zoom'"),
    "an unknown action": ('Action: zoom\nAction Input: {"box": 1}', "no tool 'zoom'"),
    "an unknown recipient": (
        '<|channel|>commentary to=functions.zoom<|message|>{"a": 1}',
        "no tool 'functions.zoom'|no tool 'zoom'",
    ),
    "cut off in a value": (
        '<tool_call><function=segment><parameter=phrases>["blue',
        "not valid JSON",
    ),
    "cut off in an argument": (
        "<tool_call>segment<arg_key>phrases</arg_key><arg_value>blue ki",
        "not valid JSON",
    ),
    "cut off in Gemma's text": (
        '<|tool_call>call:segment{phrases:[<|"|>blue ki',
        "not valid JSON",
    ),
    "Gemma's text without quotes": (
        "<|tool_call>call:segment{phrases:[blue kite]}<tool_call|>",
        "not valid JSON",
    ),
    "cut off in Python": ('<|python_start|>[segment(phrases=["blue', "not valid JSON"),
    "cut off in JSON": ('<tool_call>{"name": "segment", "arguments": {"phr', "not valid JSON"),
    "a name alone": ("[TOOL_CALLS]segment", "not valid JSON"),
    "words for a call": ("<tool_call>please segment the kite</tool_call>", "not valid JSON"),
    "words that name no tool": ("<tool_call>the kite</tool_call>", "there is no tool '<tool_call>"),
    "an empty call": ("<tool_call>\n</tool_call>", "there is no tool '<tool_call>"),
    "a parameter that comes twice": (
        "<function=look><parameter=numbers>[1]</parameter><parameter=numbers>[2]</parameter>"
        "</function>",
        "not valid JSON",
    ),
    "phrases in one text": (
        "<function=segment><parameter=phrases>kite, man</parameter></function>",
        "one or several",
    ),
    "unknown tags in a phrase": (
        "<function=segment><parameter=phrases><b>kite</b> man</parameter></function>",
        "give a list",
    ),
    "Python that computes": ("<|python_start|>[look(numbers=[1 + 1])]<|python_end|>", "not valid"),
    "an argument that is none": (
        "<tool_call>look<arg_key>box</arg_key><arg_value>[1]</arg_value></tool_call>",
        "no argument 'box'",
    ),
    "two strings without a comma": ("[segment(phrases=['kite' 'man'])]", "not valid JSON"),
    "two strings without a comma on a line": ("segment(phrases=['kite' 'man'])", "not valid JSON"),
    "ReAct with words for two": ("Action: answer\nAction Input: It is red.", "not valid JSON"),
}

NO_CALL: dict[str, str] = {
    "words": "The kite is above the man.",
    "a Python call in a sentence": 'You could write segment(phrases=["kite"]) for that.',
    "a sentence with JSON": 'The sign says {"name": "Bob", "input": 3}, and {"text": "x"}.',
    "arguments quoted in a sentence": 'The label is {"phrases": ["kite"]} as printed.',
    "the word answer before JSON": 'Here is the answer: {"kite": 2, "men": 1}',
    "detections": '```json\n[{"box_2d": [10, 20, 30, 40], "label": "kite"}]\n```',
    "HTML": '<div class="tool"><a href="#">look</a> <b>measure(1)</b></div>',
    "HTML with data": 'The page holds <script>var a = {"look": [1, 2]};</script> and no more.',
    "a marker that is spoken of": "It prints `<tool_call>` where calls begin.",
    "markers in a sentence": "The page explains <tool_call> and <function=...> as tags.",
    "JSON in backticks": f"The page shows `{_SEGMENT}` as an example.",
    "an unknown tool in a sentence": 'The label reads {"tool": "hammer", "price": 3}.',
    "an assignment in prose": 'In JavaScript: function = area {"x": 1} and so on.',
    "XML of tools": 'The drawing lists <tool>hammer</tool> and <tool name="saw"/> as XML.',
    "code in HTML": '```html\n<button name="segment" onclick="look({a: 1})">x</button>\n```',
    "reasoning alone": f"<think>I call <tool_call>{_SEGMENT}</tool_call></think>Two kites.",
    "reasoning in harmony": f"<|channel|>analysis<|message|>{_LOOK}<|end|>",
    "reasoning without an end": "<think><function=look><parameter=numbers>[1]</parameter>",
    "reasoning whose begin is in the prompt": f"perhaps {_LOOK}</think>\nTwo kites.",
    "reasoning of Kimi-VL": f"◁think▷{_LOOK}◁/think▷Two kites.",
    "an answer in tags": "<answer>(12, 40), (80, 90)</answer>",
    "a final answer": "Thought: I know it.\nFinal Answer: two kites",
    "a list": "Tools I know:\n- segment\n- look: close-ups\n- measure: sizes",
    "name and colon in prose": "name: kite\ncolour: blue",
    "a link": "See [segment](https://example.com/look) for more.",
}
