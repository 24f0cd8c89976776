"""SAM 3 for a chat model of OpenAI, vLLM, Ollama, ... (OPENAI_BASE_URL, OPENAI_API_KEY)."""

import sys
from typing import Any

from openai import OpenAI

from sam3_agent import plugin


def ask(picture: str, question: str, model: str = "gpt-6-luna") -> str:
    client, tools = OpenAI(), plugin.tools("openai")
    messages: list[Any] = [{"role": "user", "content": f'{question} (The image is "photo".)'}]
    while True:
        done: Any = client.chat.completions.create(model=model, messages=messages, tools=tools)
        reply = done.choices[0].message
        messages.append(reply)
        if not reply.tool_calls:
            return str(reply.content)
        for call in reply.tool_calls:
            result = plugin.call(call.function.name, call.function.arguments, {"photo": picture})
            found = plugin.content(result, "openai")
            messages.append({"role": "tool", "tool_call_id": call.id, "content": found})


if __name__ == "__main__":
    print(ask(*sys.argv[1:]))
