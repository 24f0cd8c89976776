"""SAM 3 for Claude (ANTHROPIC_API_KEY), which sees the pictures too."""

import sys
from typing import Any

from anthropic import Anthropic

from sam3_agent import plugin


def ask(picture: str, question: str, model: str = "claude-sonnet-5-5") -> str:
    client, tools = Anthropic(), plugin.tools("anthropic")
    messages: list[Any] = [{"role": "user", "content": f'{question} (The image is "photo".)'}]
    while True:
        reply: Any = client.messages.create(
            model=model, max_tokens=2000, messages=messages, tools=tools
        )
        messages.append({"role": "assistant", "content": reply.content})
        if reply.stop_reason != "tool_use":
            return "".join(block.text for block in reply.content if block.type == "text")
        results = []
        for call in (block for block in reply.content if block.type == "tool_use"):
            result = plugin.call(call.name, call.input, {"photo": picture})
            found = plugin.content(result, "anthropic")
            results.append({"type": "tool_result", "tool_use_id": call.id, "content": found})
        messages.append({"role": "user", "content": results})


if __name__ == "__main__":
    print(ask(*sys.argv[1:]))
