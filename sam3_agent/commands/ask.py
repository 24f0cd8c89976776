"""`sam3-agent ask` and `sam3-agent replay`: a question about an image to words and masks."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sam3_agent.agent import Agent
from sam3_agent.answer import Answer
from sam3_agent.budget import UsageTracker
from sam3_agent.commands.options import (
    BudgetOptions,
    ImageArgument,
    ImageOptions,
    ModelOptions,
    OutputOptions,
    check_writable,
    command,
)
from sam3_agent.commands.output import print_answer, print_models, print_stderr, stderr
from sam3_agent.events import ChecksFinished, Finished, ToolFinished, ToolStarted, TurnStarted
from sam3_agent.images import Pixels
from sam3_agent.model.recording import start_recording
from sam3_agent.model.replay import load_recording
from sam3_agent.saving import prepare_folder
from sam3_agent.task import checked_query


@command
def ask(
    image: ImageArgument,
    query: Annotated[str, typer.Argument(help="A question, such as 'the leftmost red car'.")],
    models: ModelOptions,
    images: ImageOptions,
    budget: BudgetOptions,
    output: OutputOptions,
    record: Annotated[
        Path | None, typer.Option(help="Record all requests and replies here, for `replay`.")
    ] = None,
) -> None:
    """Ask a question about an image; get words and masks."""
    checked_query(query)
    if record is not None:
        check_writable(record)
    limits = budget.budget()
    with UsageTracker(limits).active():  # a download may take no longer than the question
        pixels = images.load(image)
    output.prepare()
    if record is not None:
        prepare_folder(record)
    agent = models.new_agent(
        ask_person=None if output.as_json or not sys.stdin.isatty() else ask_on_terminal,
        budget=limits,
        max_megapixels=images.max_megapixels,
        check_domain=not images.any_image,
    )
    recording = None
    if record is not None:
        agent, recording = start_recording(agent, record, pixels, query)
    answer = answer_with_progress(agent, pixels, query)
    try:
        print_answer(answer, output.out, output.as_json)
    finally:
        if recording is not None:
            recording.finish(answer)


@command
def replay(
    folder: Annotated[Path, typer.Argument(help="The folder that `ask --record` has written.")],
    output: OutputOptions,
) -> None:
    """Run a recorded ask again, without network or key."""
    agent, pixels, query = load_recording(folder)
    output.prepare()
    answer = answer_with_progress(agent, pixels, query)
    print_answer(answer, output.out, output.as_json)


def answer_with_progress(agent: Agent, image: Pixels, query: str) -> Answer:
    """Answers as `Agent.ask` does, and prints each step on stderr."""
    print_models(agent.planner.name, agent.segmenter.name)
    for event in agent.stream(image, query):
        match event:
            case TurnStarted():
                print_stderr(f"turn {event.turn} of {event.max_turns}: asking {agent.planner.name}")
            case ToolStarted():
                print_stderr(f"  {event.call.name} {event.call.arguments}")
            case ToolFinished():
                for line in event.message.text.splitlines():
                    print_stderr(f"    {line}")
            case ChecksFinished():
                for line in event.text.splitlines():
                    print_stderr(f"  check: {line}")
            case Finished():
                print_stderr(str(event.answer.usage))
                return event.answer
    raise AssertionError("a stream ends with Finished")


def ask_on_terminal(question: str) -> str:
    """Passes the planner's question to the person at the terminal; "" on Ctrl-D."""
    print_stderr(f"the planner asks: {question}")
    try:
        return stderr.input("> ")
    except EOFError:
        return ""
