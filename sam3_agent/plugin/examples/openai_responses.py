"""SAM 3 for a model behind OpenAI's Responses API, which shows it the pictures too."""

import sys
from typing import Any

from openai import OpenAI

from sam3_agent import plugin


def ask(picture: str, question: str, model: str = "gpt-6-luna") -> str:
    client, tools = OpenAI(), plugin.tools("openai-responses")
    items: list[Any] = [{"role": "user", "content": f'{question} (The image is "photo".)'}]
    while True:
        reply: Any = client.responses.create(model=model, input=items, tools=tools)
        items += reply.output
        calls = [item for item in reply.output if item.type == "function_call"]
        if not calls:
            return str(reply.output_text)
        for call in calls:
            result = plugin.call(call.name, call.arguments, {"photo": picture})
            found = plugin.content(result, "openai-responses")
            items.append({"type": "function_call_output", "call_id": call.call_id, "output": found})


if __name__ == "__main__":
    print(ask(*sys.argv[1:]))
