"""`sam3-agent ask`: a question about an image to words and masks."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sam3_agent import registry
from sam3_agent.agent import Agent
from sam3_agent.answer import Answer
from sam3_agent.budget import Budget
from sam3_agent.commands.console import (
    AnyImageOption,
    EffortOption,
    ImageArgument,
    JsonOption,
    MegapixelsOption,
    OutOption,
    PlannerOption,
    PriceOption,
    SegmenterOption,
    ToolCallsOption,
    VerifierOption,
    VerifierPriceOption,
    chosen_verifier,
    deliver,
    or_exit,
    planner_options,
    progress,
    say,
    say_models,
)
from sam3_agent.events import ChecksFinished, Finished, ToolFinished, ToolStarted, TurnStarted
from sam3_agent.images import MAX_MEGAPIXELS, Pixels, load_image
from sam3_agent.model.recording import load_recording, start_recording


def ask(
    image: ImageArgument,
    query: Annotated[str, typer.Argument(help="A question, such as 'the leftmost red car'.")],
    planner: PlannerOption = None,
    segmenter: SegmenterOption = None,
    out: OutOption = None,
    as_json: JsonOption = False,
    record: Annotated[
        Path | None, typer.Option(help="Keep every request and reply here, for `replay`.")
    ] = None,
    max_turns: Annotated[int, typer.Option(min=1, help="Replies the planner has.")] = 12,
    max_seconds: Annotated[
        float | None, typer.Option(help="Nothing is sent after so many seconds.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Nothing is sent after so many tokens, in and out.")
    ] = None,
    max_usd: Annotated[
        float | None, typer.Option(help="Nothing is sent after so many US dollars.")
    ] = None,
    tool_calls: ToolCallsOption = None,
    effort: EffortOption = "balanced",
    verifier: VerifierOption = None,
    price: PriceOption = None,
    verifier_price: VerifierPriceOption = None,
    max_megapixels: MegapixelsOption = MAX_MEGAPIXELS,
    any_image: AnyImageOption = False,
) -> None:
    """Ask a question about an image; get words and masks."""

    def run() -> Answer:
        options = planner_options(tool_calls, price)
        budget = Budget(max_turns, max_seconds, max_tokens, max_usd)
        pixels = load_image(image, max_megapixels=max_megapixels)
        brain = registry.planner(planner, **options)
        agent = Agent(
            brain,
            segmenter,
            verifier=chosen_verifier(verifier, brain, verifier_price),
            effort=effort,
            ask_person=None if as_json or not sys.stdin.isatty() else ask_on_terminal,
            budget=budget,
            max_megapixels=max_megapixels,
            check_domain=not any_image,
        )
        if record is None:
            return answer_with_progress(agent, pixels, query)
        agent, recording = start_recording(agent, record, pixels, query)
        answer = answer_with_progress(agent, pixels, query)
        recording.finish(answer)
        return answer

    deliver(or_exit(run), out, as_json)


def replay(
    folder: Annotated[Path, typer.Argument(help="What `ask --record` has left.")],
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a recorded ask again, without network or key."""

    def run() -> Answer:
        agent, pixels, query = load_recording(folder)
        return answer_with_progress(agent, pixels, query)

    deliver(or_exit(run), out, as_json)


def answer_with_progress(agent: Agent, image: Pixels, query: str) -> Answer:
    """`Agent.ask`, told step by step on stderr."""
    say_models(agent.planner.name, agent.segmenter.name)
    for event in agent.stream(image, query):
        match event:
            case TurnStarted():
                say(f"turn {event.turn} of {event.max_turns}: asking {agent.planner.name}")
            case ToolStarted():
                say(f"  {event.call.name} {event.call.arguments}")
            case ToolFinished():
                for line in event.message.text.splitlines():
                    say(f"    {line}")
            case ChecksFinished():
                for line in event.text.splitlines():
                    say(f"  check: {line}")
            case Finished():
                say(str(event.answer.usage))
                return event.answer
    raise AssertionError("a stream ends with Finished")


def ask_on_terminal(question: str) -> str:
    """What the person at the terminal says to the planner's question; nothing on Ctrl-D."""
    say(f"the planner asks: {question}")
    try:
        return progress.input("> ")
    except EOFError:
        return ""
