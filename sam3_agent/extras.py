"""Optional packages: imported where they are used, with an error that names the extra."""

from importlib import import_module

from sam3_agent.errors import InputError, Sam3AgentError

EXTRAS = {
    "scipy": "evals",
    "cv2": "evals",
    "jinja2": "evals",
    "pyarrow": "evals",
    "resvg_py": "dev",
    "openai": "openai",
    "google.genai": "gemini",
    "inspect_ai": "inspect",
    "mcp": "mcp",
    "mcp_types": "mcp",
    "fastapi": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
    "python_multipart": "serve",
    "prometheus_client": "serve",
    "tifffile": "tiff",
    "imagecodecs": "tiff",
}
"""A package that the bare wheel may lack, by the name it is imported under, to its extra."""


def require(
    *packages: str,
    purpose: str,
    extra: str | None = None,
    error: type[Sam3AgentError] = InputError,
) -> None:
    """Import optional packages; raise `error` with the pip command when one cannot be imported.

    Call it where the work begins, before anything is paid for or waited for; the import statements
    follow it. purpose: what needs them, the subject of the error's sentence. extra: which one
    brings them, when it is not the one in `EXTRAS`.
    """
    for package in packages:
        wanted = extra or EXTRAS[package]
        try:
            import_module(package)
        except ImportError as cause:
            # a package that is there but broken fails on another one's name
            top = package.partition(".")[0]
            missing = isinstance(cause, ModuleNotFoundError) and (cause.name or "").startswith(top)
            what = "" if missing else f" (it fails to import: {cause})"
            raise error(
                f"{purpose} needs {package}{what}: pip install 'sam3-agent[{wanted}]'"
            ) from cause


def available(*packages: str) -> bool:
    """Whether optional packages can be imported."""
    try:
        for package in packages:
            import_module(package)
    except ImportError:
        return False
    return True
