"""Records the setup of a run: settings of its models, and a hash of its prompts."""

import hashlib
import json
from typing import Any

from sam3_agent import registry
from sam3_agent.planner import Planner, settings_of
from sam3_agent.segmenter import Segmenter
from sam3_agent.segmenter import settings_of as segmenter_settings


def setup(
    planner: Planner | None, segmenter: Segmenter, verifier: Planner | None = None
) -> dict[str, Any]:
    """Returns the setup as JSON values; `prompts` is a hash of all prompt texts and tool schemas.

    planner, verifier: None for a solver without.
    """
    out: dict[str, Any] = {"segmenter": segmenter_settings(segmenter)}
    if planner is not None:
        out["planner"] = settings_of(planner)
        out["prompts"] = _prompts(segmenter)
    if verifier is not None:
        out["verifier"] = settings_of(verifier)
    return out


def _prompts(segmenter: Segmenter) -> str:
    digest = hashlib.sha256(json.dumps(registry.prompt_texts(), sort_keys=True).encode())
    for tool in registry.tools(segmenter):
        schema = [tool.name, tool.description, dict(tool.parameters)]
        digest.update(json.dumps(schema, sort_keys=True).encode())
    return digest.hexdigest()[:16]
