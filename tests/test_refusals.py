"""What refusals of real servers, gateways and chat templates are about."""

import pytest

from sam3_agent.model.providers.refusals import (
    numbers_in,
    pictures_allowed,
    refusals_in,
    refusals_of,
)

WORDS: dict[str, list[str]] = {
    "picture_count": [
        "At most 1 image(s) may be provided in one request.",
        "At most 1 image(s) may be provided in one prompt.",
        "At most 1 image(s) may be provided in one message",
        (
            "You set or defaulted to '{\"image\": 1}' in `--limit-mm-per-prompt`, but passed 2 "
            "image items in the same prompt."
        ),
        (
            "You set image=1 (or defaulted to 1) in `--limit-mm-per-prompt`, but passed 3 "
            "image items in the same prompt."
        ),
        "Too many images in request. Max is 10.",
        "request contains 52 images, exceeding the maximum of 50 allowed per request",
        (
            "Too many images in request: 11 images provided, but the model supports a "
            "maximum of 10 images."
        ),
        "messages: too many images and documents: 120 + 0 > 100",
        "Too much media: 0 document pages + 107 images > 100",
        "too many images in the message, max allowed is 16",
        (
            "Too many images were provided, we currently limit the number of images per "
            "conversation to 60"
        ),
        "Image count 5 exceeds limit 4 per request.",
        "vision model only supports a single image per message",
        "This model only supports one image per request",
        "Exceeded limit on max data-uri per request: 250",
        "Only one image is allowed.",
        "Multiple images are not supported",
        "The model does not support multiple images",
        "Expected 1 image, got 3",
        "Please use fewer than 16 images in your request to models/gemini-pro-vision",
        "This model supports up to 5 images.",
        "the maximum number of images is 1",
        "images: at most 1 item allowed",
        "more than one image is not supported by this model",
        "You can only send one image per request",
        "only a single image is supported",
        "Maximum of 1 image allowed per message",
        "This endpoint accepts at most one image",
        "a maximum of 1 images are supported per prompt",
        "Number of images (2) exceeds the limit (1)",
        "image count exceeds model limit",
        "Too many image parts: got 2, allowed 1",
        "The model can process only 1 image at a time",
        "Received 2 images but the model supports only 1",
        "Only 1 image per prompt is supported by this model",
        "more than 1 image in a message is not allowed",
        "invalid request: 3 images provided, maximum allowed is 1",
        "Max images per request is 1",
        "exceeded max image count: 1",
        "Currently, only one image is supported.",
        "Input contains 2 images, but this model takes exactly one image.",
        "limit of 1 image(s) per request exceeded",
        "Cannot process more than one image",
        "llava only handles one image",
        "ValueError: images limit 1",
        "images per request must be <= 1",
        "at most one picture per request",
    ],
    "pictures": [
        "image input is not supported by this server",
        (
            "image input is not supported - hint: if this is unexpected, you may need to "
            "provide the mmproj"
        ),
        "No endpoints found that support image input",
        (
            "Failed to deserialize the JSON body into the target type: messages[3]: unknown "
            "variant `image_url`, expected `text` at line 1 column 173667"
        ),
        "this model does not support image input (ref: b8bd630e)",
        "Invalid content type. image_url is only supported by certain models.",
        "Qwen/Qwen3-8B is not a multimodal model",
        "Unsupported content part type for text-only server: image_url",
        (
            "'messages.1' : for 'role:user' the following must be "
            "satisfied[('messages.1.content' : value must be a string)]"
        ),
        "messages[1].content must be a string",
        "Image input modality is not enabled for models/gemma-3-1b-it",
        (
            "gemini image input is not enabled: message 5 contains image_url content but "
            "image (vision) input is currently disabled on this gateway"
        ),
        "this model is missing data required for image input",
        "Model does not support images. Please use a model that does.",
        "Image inputs are not supported by this model.",
        "multimodal content is not supported by this endpoint",
        "Unexpected item type in content",
        "Invalid image. The model does not support vision input.",
        "This model doesn't support image inputs",
        "vision is not supported for this model",
        "The server was not compiled for multimodal or the model projector can't be loaded.",
        "Image input detected, but the loaded model is not configured with a mmproj module.",
        (
            "{'detail': [{'type': 'string_type', 'loc': ['body', 'messages', 1, 'content', "
            "'str'], 'msg': 'Input should be a valid string'}]}"
        ),
        "该模型不支持图片输入",
        "mistral-small does not have vision capabilities",
        "Images are not supported in this deployment",
        "The model only accepts text input",
        "Unsupported message content: images not supported",
        "content type 'image_url' is not supported",
        "This model cannot accept images",
        "does not support multimodal inputs",
        "This model can't see images; image content is unsupported",
        "Images are not supported for this model",
        "This model is text-only and does not accept images",
        "Vision is not enabled for this model",
        "model does not have vision support",
        "image_url is not allowed for this model",
        "The model 'x' does not support vision",
        "Unsupported content type: image_url",
        "Invalid value: 'image_url'. Supported values are: 'text'.",
        "messages.1.content.0.type: Input should be 'text'",
        "content[1].type must be 'text'",
        "This model cannot process images",
        "Cannot read image (this model does not support image input)",
        "multimodal input is disabled",
        "Invalid message content: expected string",
        "list index: content should be str",
        "Message content must be string",
        "visual inputs are not available for this model",
        "no vision encoder loaded",
        "Model has no image processor",
        "This endpoint doesn't support multimodal messages",
        "received an image but the model has no vision tower",
        "image parts are not accepted",
        "unexpected content type image_url",
        "bad request: image_url not supported",
        "This LLM does not handle pictures",
        "Image content blocks are not supported",
        "LLM does not support image_url content",
        "The model does not support image",
        "mtmd: no mmproj",
        "failed to process image: clip model not loaded",
        "`image_url` is not supported by this model",
        "only text content is supported",
        "Model only supports text inputs",
        '"message":"Image input is not supported by model deepseek-r1"',
    ],
    "system": [
        "System role not supported",
        "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
        "Prompting with images is incompatible with system messages.",
        "Developer instruction is not enabled for models/gemma-3-27b-it",
        "System messages are not supported",
        "Invalid role: system",
        "Unexpected role 'system'",
        "This model does not support system prompts",
        "Unknown role: system",
        "System instruction is not supported for this model",
        "system prompt is unsupported",
        "Conversation must start with a user message",
        "role must be one of ['user','assistant'], got system",
        "System messages not allowed",
        "'system' role is not supported",
        "role 'system' is not allowed",
        "The system role is not permitted",
        "This model does not accept a system message",
        "system instructions are not supported",
        'messages: Unexpected role "system"',
        "unsupported role: system",
        "Role system not supported",
        "model does not support the system role",
        "Invalid value: 'system'. Supported values are: 'user' and 'assistant'.",
        "System prompts aren't supported by gemma",
        "first message must have role user",
        "jinja2.exceptions.TemplateError: System role not supported",
        "Conversation must begin with user",
        "unsupported message role: system",
        "The 'system' message type is not supported",
    ],
    "tool_role": [
        "Unknown role: tool",
        "Invalid role: tool",
        "Unexpected role RoleEnum.tool",
        "Only user and assistant roles are supported!",
        (
            "Only user and assistant roles are supported, with the exception of an initial "
            "optional system message!"
        ),
        "Unexpected role 'tool' after role 'user'",
        "Only system, user and assistant roles are supported!",
        "messages[3].role: must be one of system, user, assistant, but got tool",
        "Unsupported role: tool",
        "unknown role 'tool'",
        "Unknown message role tool",
        "unknown message role: tool",
        "Unexpected message role: tool",
        "'tool' is not one of ['system', 'user', 'assistant']",
        "Invalid value: 'tool'. Supported values are: 'system', 'assistant', 'user'",
        "messages[2].role: 'tool' is not a valid role",
        'invalid message role "tool"',
        "Unrecognized role tool",
        "unsupported role tool",
        "TemplateError: Unknown role: tool",
        "message role must be user or assistant, found tool",
        "Only user, system and assistant roles are supported",
        "Input should be 'system', 'user' or 'assistant' [input_value='tool']",
        "unknown variant `tool`, expected one of `system`, `user`, `assistant`",
    ],
    "roles": [
        "Unexpected role 'user' after role 'tool'",
        "Conversation roles must alternate user/assistant/user/assistant/...",
        (
            "After the optional system message, conversation roles must alternate user and "
            "assistant roles except for tool calls and results."
        ),
        "This model only supports single tool-calls at once!",
        "Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9.",
        "Not the same number of function calls and responses",
        (
            'roles must alternate between "user" and "assistant", but found multiple "user" '
            "roles in a row"
        ),
        "Roles must alternate user/assistant",
        "messages must alternate between user and assistant",
        "Consecutive user messages are not allowed",
        "user message cannot follow tool message",
        (
            "Expected last role User or Tool (or Assistant with prefix True) for serving but "
            "got assistant"
        ),
        "A tool message must be followed by an assistant message",
        "conversation roles must alternate",
        "Only one tool call at a time is supported",
        "Tool call IDs should be alphanumeric strings with length 9!",
    ],
    "tools": [
        "registry.ollama.ai/library/llava:7b does not support tools",
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
        'No endpoints found that support tool use. Try disabling "segment".',
        "tools param requires --jinja flag",
        "Function calling is not enabled for this model",
        "Unrecognized request argument supplied: tools",
        "Unsupported parameter: 'tools' is not supported with this model.",
        "tool_choice is not supported",
        "parallel_tool_calls is not supported",
        "`tools` is not supported in this model. For supported models, see docs",
        "Tool calling is not supported with image input",
        "tool use with images is not supported by this model",
        "unknown field `tools`",
        "[{'loc': ['body', 'tools'], 'msg': 'Extra inputs are not permitted'}]",
        "This model does not support function calling",
        "tools are currently not supported",
        "Unsupported parameter: 'tool_choice'",
        "The model doesn't support tool calling",
        "This model does not support tools.",
        "tools not supported",
        "Tool use not supported",
        "function calling not supported",
        "functions are not supported",
        "tool calls are disabled for this model",
        "The `tools` parameter is not supported",
        "unexpected field: tools",
        "tools: Extra inputs are not permitted",
        "Model does not support tool calls",
        "The model does not support function calls",
        "tool-use is not available",
        "does not support parameters: ['tools']",
        "model does not support: tools",
        "Unknown parameter: 'tools'.",
        "'tools' is not allowed",
        "additional properties are not allowed ('tools' was unexpected)",
        "litellm.UnsupportedParamsError: does not support parameters: {'tools': ...}",
    ],
    "picture_size": [
        "image exceeds 5 MB maximum: 5316852 bytes > 5242880 bytes",
        (
            "messages.7.content.3.image.source.base64.data: At least one of the image "
            "dimensions exceed max allowed size: 8000 pixels"
        ),
        (
            "Image 0 failed: Image exceeds the maximum allowed total pixels. Current "
            "dimensions: 4634x12324 = 57109416 pixels. Maximum allowed: 36000000 pixels."
        ),
        "Image size too large",
        "image is too large",
        "The image size exceeds the limit of 4MB",
        "image too big: max 1024x1024 pixels",
    ],
    "context": [
        "This model's maximum context length is 8192 tokens. However, your messages ...",
        "the request exceeds the available context size, try increasing it",
        "input is too long for requested model",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    ],
    "pictures_in_results": [
        (
            "Multimodal function responses are not supported for this model: "
            "function_response.parts image"
        ),
    ],
    "": [
        "stub",
        "overloaded",
        "bad image",
        "The model `gpt-test` does not exist",
        "upstream died",
        "Internal server error",
        (
            "You uploaded an unsupported image. Please make sure your image has of one the "
            "following formats: ['png', 'jpeg', 'gif', 'webp']."
        ),
        "The provided image format is not supported",
        "Invalid image_url: could not decode image",
        "Could not process image",
        "Your input image may contain content that is not allowed by our safety system.",
        "Unable to process input image. Please retry",
        "image file type not supported",
        "The model is overloaded. Please try again later.",
        "Rate limit reached for images",
        "Model gpt-4-vision-preview is not available",
        "No endpoints found for foo/bar",
        "Invalid API key",
        "The service is unavailable",
        "invalid_request_error",
        "this model is not available in your region",
        "Failed to load the image",
        "Service Unavailable: the vision service is restarting",
        "no credit",
        "model is not supported",
        "loading model",
        "The image is blurry",
        "Image generation failed",
        "Request timed out while fetching image",
        "the requested model is not supported",
        "Invalid base64 image_url",
        "image_url must be a base64 string",
        "Could not fetch image_url",
        "Invalid image",
        "Corrupt image data",
        "bad gateway",
        "Your account does not support this model",
        "system overloaded",
        "Internal error: tool",
        "You exceeded your quota for images",
        "The system is not available",
        "system error",
        "role ARN is not valid",
        "no healthy upstream",
        "image too small: minimum 28 pixels",
        "Image dimensions must be at least 10x10",
        "backend system is not supported here?",
    ],
}
"""By what is refused first; "" for errors that refuse nothing of the request as such."""

CASES = [(refusal, words) for refusal, several in WORDS.items() for words in several]


@pytest.mark.parametrize(("refusal", "words"), CASES, ids=[words[:60] for _, words in CASES])
def test_a_refusal_is_understood_by_its_words(refusal: str, words: str) -> None:
    assert refusals_in(words, "gpt-4-vision-preview")[:1] == ((refusal,) if refusal else ())


@pytest.mark.parametrize(
    ("words", "sent", "allowed"),
    [
        ("At most 1 image(s) may be provided in one request.", 3, 1),
        ("At most 0 image(s) may be provided in one request.", 1, 0),
        ("You set image=2 (or defaulted to 1), but passed 3 image items", 3, 2),
        ("request contains 52 images, exceeding the maximum of 50", 52, 50),
        ("Too many images in request: 11 > 8", 11, 8),
        ("too many images and documents: 120 + 0 > 100", 120, 100),
        ("vision model only supports a single image per message", 2, 1),
        ("Too many images (error 400, at 12:30)", 3, 1),
        ("Multiple images are not supported", 1, 0),
    ],
)
def test_the_allowed_number_is_the_largest_below_what_was_sent(
    words: str, sent: int, allowed: int
) -> None:
    assert pictures_allowed(numbers_in(words), sent) == allowed


def test_a_key_a_rate_or_a_passing_trouble_is_no_refusal_of_the_request() -> None:
    words = "image input is not supported"
    assert refusals_of(400, words) == refusals_of(500, words) == ("pictures",)
    for status in (401, 403, 429):
        assert refusals_of(status, words) == ()
    assert refusals_of(503, f"{words} now, try again later") == ()
    assert refusals_of(413, "") == ("context",)
