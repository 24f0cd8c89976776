"""The markers with which model families announce tool calls in text."""

import re

MARKERS = {
    "<tool_call>": "Hermes, Qwen, GLM, Granite, Hunyuan, ERNIE, MiMo",
    "<tool_calls>": "Jamba, Hunyuan, MiniMax M1",
    "<tool_use>": "Anthropic's blocks as tags",
    "<TOOLCALL>": "Nemotron",
    "<function_call>": "Hermes 1, Granite 20B",
    "<functioncall>": "Glaive",
    "<function_calls>": "Anthropic's old form, and models trained on it",
    "<minimax:tool_call>": "MiniMax M2",
    "<seed:tool_call>": "Seed-OSS",
    "<longcat_tool_call>": "LongCat",
    "<dots_function_call>": "dots",
    "<｜DSML｜function_calls>": "DeepSeek V3.2",
    "<｜DSML｜tool_calls>": "DeepSeek V4",
    "<｜DSML｜ calls>": "DeepSeek V4.1",
    "<｜tool▁calls▁begin｜>": "DeepSeek V3, R1, V3.1",
    "<｜tool▁call▁begin｜>": "DeepSeek V3, R1, V3.1",
    "<｜tool_calls_begin｜>": "Step",
    "<｜tool_call_begin｜>": "Step",
    "<|tool_calls_section_begin|>": "Kimi K2",
    "<|tool_call_begin|>": "Kimi K2",
    "<|tool_call_start|>": "LFM2",
    "<|tool_call|>": "Granite 3, Phi-4-mini",
    "<|tool_calls|>": "variants of it",
    "<|tool_call>": "Gemma 4",
    "<start_function_call>": "FunctionGemma",
    "<|tools_prefix|>": "Apertus",
    "<|python_tag|>": "Llama 3.1 to 3.3",
    "<|python_start|>": "Llama 4",
    "<|action_start|>": "InternLM, Intern-S1",
    "<|START_ACTION|>": "Command R7B, Command A",
    "<|open|>tools<|sep|>": "Kimi K3",
    "[TOOL_CALLS]": "Mistral",
    "functools[": "Phi-4",
}
"""What announces a call, and which models write it."""

MARKER = "|".join(
    re.escape(one).replace("｜", "[｜|]").replace("▁", "[▁_]").replace("\\|", "[｜|]")
    for one in MARKERS
)
"""A pattern of them all; some models write DeepSeek's and Step's with the signs of a keyboard."""
