"""sam3-agent: ask a picture a question in plain language; get words and pixel-exact masks."""

from sam3_agent.agent import Agent
from sam3_agent.answer import Answer, Status
from sam3_agent.budget import Budget
from sam3_agent.chat import Chat
from sam3_agent.errors import (
    ImageError,
    InputError,
    ModelError,
    PlannerError,
    PromptError,
    Sam3AgentError,
    SegmenterError,
    ToolError,
)
from sam3_agent.events import (
    ChecksFinished,
    Event,
    Finished,
    PlannerReplied,
    ToolFinished,
    ToolStarted,
    TurnStarted,
)
from sam3_agent.findings import Finding
from sam3_agent.images import load_image
from sam3_agent.masks import Masks
from sam3_agent.mentions import Mention
from sam3_agent.messages import Message, ToolCall
from sam3_agent.planner import Planner
from sam3_agent.review import Effort
from sam3_agent.scene import Scene
from sam3_agent.segmenter import (
    COUNTING,
    STANDARD,
    ConceptPrompt,
    Detection,
    ObjectPrompt,
    Segmenter,
    Selection,
)
from sam3_agent.tool import Conclusion, Observation, Tool
from sam3_agent.usage import TokenUsage, Usage

__version__ = "0.1.0"
"""As in pyproject.toml; importlib.metadata would have to search for it."""

__all__ = [
    "COUNTING",
    "STANDARD",
    "Agent",
    "Answer",
    "Budget",
    "Chat",
    "ChecksFinished",
    "ConceptPrompt",
    "Conclusion",
    "Detection",
    "Effort",
    "Event",
    "Finding",
    "Finished",
    "ImageError",
    "InputError",
    "Masks",
    "Mention",
    "Message",
    "ModelError",
    "ObjectPrompt",
    "Observation",
    "Planner",
    "PlannerError",
    "PlannerReplied",
    "PromptError",
    "Sam3AgentError",
    "Scene",
    "Segmenter",
    "SegmenterError",
    "Selection",
    "Status",
    "TokenUsage",
    "Tool",
    "ToolCall",
    "ToolError",
    "ToolFinished",
    "ToolStarted",
    "TurnStarted",
    "Usage",
    "load_image",
]
