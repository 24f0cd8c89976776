"""Two scenes as an inspect task with a mock model: `python -m tests.inspect_program FOLDER`.

Prints one JSON object: the metrics, and the rows. In a process of its own since inspect's event
loop leaves streams behind that Python warns about.
"""

import json
import sys
from typing import Any

import inspect_ai
from inspect_ai.model import ModelOutput, ModelUsage, get_model

from sam3_agent.evals.adapters.inspect_tasks import benchmark_task
from sam3_agent.evals.benchmarks import read
from sam3_agent.model.fake_segmenter import FakeSegmenter


def calling(name: str, arguments: dict[str, Any]) -> ModelOutput:
    """A reply with one tool call."""
    return counted(ModelOutput.for_tool_call("mockllm/model", name, arguments))


def counted(output: ModelOutput) -> ModelOutput:
    """Adds the usage: without it inspect counts tokens, with a vocabulary from the network."""
    output.usage = ModelUsage(input_tokens=100, output_tokens=10, total_tokens=110)
    return output


def main(folder: str) -> None:
    """Two samples; the model answers the first and breaks off in the second."""
    replies = [
        calling("segment", {"phrases": ["thing"]}),
        calling("answer", {"text": "Here it is.", "numbers": [1]}),
        calling("segment", {"phrases": ["thing"]}),
        counted(ModelOutput.from_content("mockllm/model", "", error="overloaded")),
    ]
    model = get_model("mockllm/model", custom_outputs=replies)
    segmenter = FakeSegmenter({"thing": [(10, 10, 100, 100)]})
    task = benchmark_task(read("scenes", seed=4, limit=2), segmenter, effort="fast")
    (log,) = inspect_ai.eval(task, model=model, log_dir=folder, display="none", max_samples=1)
    assert log.status == "success", log.error
    assert log.results is not None
    (score,) = log.results.scores
    metrics = {name: one.value for name, one in score.metrics.items()}
    rows = [sample.metadata["row"] for sample in log.samples or ()]
    print(json.dumps({"metrics": metrics, "rows": rows}))


if __name__ == "__main__":
    main(sys.argv[1])
