"""SAM 3 for Gemini (GEMINI_API_KEY); from Gemini 3 on the model sees the pictures too."""

import sys
from typing import Any

from google import genai

from sam3_agent import plugin


def ask(picture: str, question: str, model: str = "gemini-3.8-flash") -> str:
    client = genai.Client()
    config: Any = {"tools": plugin.tools("gemini")}
    text = f'{question} (The image is "photo".)'
    contents: list[Any] = [{"role": "user", "parts": [{"text": text}]}]
    while True:
        reply: Any = client.models.generate_content(model=model, contents=contents, config=config)
        contents.append(reply.candidates[0].content)
        if not reply.function_calls:
            return str(reply.text)
        results = []
        for call in reply.function_calls:
            result = plugin.call(call.name, call.args, {"photo": picture})
            found = {"id": call.id, "name": call.name, **plugin.content(result, "gemini")}
            results.append({"function_response": found})
        contents.append({"role": "user", "parts": results})


if __name__ == "__main__":
    print(ask(*sys.argv[1:]))
