"""The benchmarks as tasks of inspect-ai, with any of its models as the planner.

    inspect eval sam3_agent/grounding --model openai/gpt-5.4-mini \
        -T benchmark=reasonseg -T data=/data/ReasonSeg -T split=val -T segmenter=facebook/sam3

inspect finds the task by the entry point in pyproject.toml.

Scores and metrics are the benchmark's own; `--limit`, retries and logs are inspect's.
"""

import contextvars
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio.from_thread
import anyio.to_thread

from sam3_agent.extras import require

require("inspect_ai", purpose="evals/adapters/inspect_tasks.py")
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset
from inspect_ai.dataset import Sample as InspectSample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    Content,
    ContentImage,
    ContentText,
    GenerateConfig,
    Model,
    ModelOutput,
    get_model,
)
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import ToolCall as InspectCall
from inspect_ai.tool import ToolInfo, ToolParams

from sam3_agent import registry
from sam3_agent.agent import Agent
from sam3_agent.errors import PlannerError
from sam3_agent.evals.benchmark import Benchmark
from sam3_agent.evals.benchmarks import read
from sam3_agent.evals.row_record import row_from_dict, row_to_dict
from sam3_agent.evals.runner import solve_sample
from sam3_agent.evals.solvers import make_solver
from sam3_agent.image_encoding import encode_smaller
from sam3_agent.messages import Message, ToolCall
from sam3_agent.segmenter import Segmenter
from sam3_agent.tool import Tool
from sam3_agent.usage import TokenUsage


@task
def grounding(
    benchmark: str = "scenes",
    data: str | None = None,
    split: str | None = None,
    solver: str = "agent",
    effort: str = "balanced",
    segmenter: str | None = None,
    limit: int | None = None,
) -> Task:
    """Makes the task of a benchmark by name; `solver` is one of those of `sam3-agent eval`.

    limit: only the first so many samples (of scenes, 200 by default).
    """
    options = {"limit": limit} if benchmark == "scenes" else {}
    found = read(benchmark, Path(data) if data else None, split, **options)
    return benchmark_task(found, registry.segmenter(segmenter), solver, effort, limit)


def benchmark_task(
    benchmark: Benchmark,
    segmenter: Segmenter,
    solver: str = "agent",
    effort: str = "balanced",
    limit: int | None = None,
) -> Task:
    """Makes the task of a benchmark."""
    samples = [
        InspectSample(input=sample.query, id=sample.id, metadata={**sample.tags, "index": index})
        for index, sample in enumerate(benchmark.samples[:limit])
    ]
    return Task(
        dataset=MemoryDataset(samples, name=benchmark.name),
        solver=_solver(benchmark, segmenter, solver, effort),
        scorer=_scorer(benchmark),
        name=f"sam3-agent-{benchmark.name}",
    )


@solver
def _solver(benchmark: Benchmark, segmenter: Segmenter, solver: str, effort: str) -> Solver:
    """Answers samples with a solver in a thread, and puts their rows into the metadata."""
    options: dict[str, Any] = {"effort": effort}

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        index = int(state.metadata["index"])
        async with anyio.from_thread.BlockingPortal() as portal:
            planner = InspectPlanner(get_model(), portal)
            agent = partial(Agent, **options)
            sample_solver = make_solver(solver, planner, segmenter, agent=agent)
            row, _ = await anyio.to_thread.run_sync(
                solve_sample, sample_solver, benchmark.samples[index]
            )
            state.metadata["row"] = row_to_dict(index, row)
            state.output = ModelOutput.from_content(planner.name, row.text or row.error or "")
        return state

    return solve


def _scorer(benchmark: Benchmark) -> Scorer:
    """Scores every sample, and computes the metrics over all, as the benchmark does."""

    @metric(name=benchmark.name)
    def metrics() -> Metric:
        def over_all(scores: list[SampleScore]) -> dict[str, float]:
            rows = [row_from_dict((one.score.metadata or {})["row"])[1] for one in scores]
            return benchmark.metrics(rows)

        return over_all

    @scorer(metrics=[metrics()], name=benchmark.name)
    def score_rows() -> Scorer:
        async def score(state: TaskState, target: Target) -> Score:
            line = state.metadata["row"]
            _, row = row_from_dict(line)
            return Score(
                value=benchmark.score(row),
                answer=row.text,
                explanation=row.error,
                metadata={"row": line},
            )

        return score

    return score_rows()


class InspectPlanner:
    """A model of inspect-ai as a Planner, for threads of an inspect task.

    portal: into the model's event loop; calls run in the context of the sample for which this was
    made, so that inspect logs them there.
    """

    def __init__(self, model: Model, portal: anyio.from_thread.BlockingPortal) -> None:
        self.name = f"inspect:{model}"
        self._model = model
        self._portal = portal
        self._context = contextvars.copy_context()

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
        """Returns the model's next message; PlannerError when it fails."""
        ask = partial(
            self._model.generate, _chat(messages), [_info(tool) for tool in tools], config=_CONFIG
        )
        try:
            output: ModelOutput = self._context.copy().run(self._portal.call, ask)
        except Exception as error:  # whatever a provider of inspect raises
            raise PlannerError(f"{self.name}: {type(error).__name__}: {error}") from error
        if output.error:
            raise PlannerError(f"{self.name}: {output.error}", spent=_spent(output))
        return _message(output)


_CONFIG = GenerateConfig()


def _chat(messages: Sequence[Message]) -> list[ChatMessage]:
    """Converts the conversation; pictures of tool results follow as a user's message."""
    out: list[ChatMessage] = []
    pictures: list[Content] = []
    for message in messages:
        if message.role != "tool" and pictures:
            out.append(ChatMessageUser(content=pictures))
            pictures = []
        shown: list[Content] = [
            ContentImage(image=encode_smaller(picture).data_url) for picture in message.pictures
        ]
        if message.role == "system":
            out.append(ChatMessageSystem(content=message.text))
        elif message.role == "user":
            out.append(ChatMessageUser(content=[ContentText(text=message.text), *shown]))
        elif message.role == "tool":
            out.append(ChatMessageTool(content=message.text, tool_call_id=message.tool_call_id))
            pictures += shown
        elif isinstance(message.provider_state, ChatMessageAssistant):
            out.append(message.provider_state)
        else:
            out.append(ChatMessageAssistant(content=message.text))
    if pictures:
        out.append(ChatMessageUser(content=pictures))
    return out


def _info(tool: Tool) -> ToolInfo:
    parameters = ToolParams.model_validate(dict(tool.parameters))
    return ToolInfo(name=tool.name, description=tool.description, parameters=parameters)


def _message(output: ModelOutput) -> Message:
    reply = output.message
    calls = tuple(_call(one) for one in reply.tool_calls or ())
    return Message(
        "assistant", reply.text, tool_calls=calls, spent=_spent(output), provider_state=reply
    )


def _spent(output: ModelOutput) -> TokenUsage:
    usage = output.usage
    if usage is None:
        return TokenUsage(calls=1, cost=None)
    return TokenUsage(
        calls=1,
        input_tokens=usage.input_tokens,
        cached_tokens=usage.input_tokens_cache_read or 0,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens or 0,
        cost=usage.total_cost,
    )


def _call(call: InspectCall) -> ToolCall:
    """Converts a call; arguments that inspect could not parse stay as they were."""
    if call.parse_error:
        raw = " ".join(str(value) for value in call.arguments.values())
        return ToolCall(call.id, call.function, raw)
    return ToolCall(call.id, call.function, json.dumps(call.arguments))
