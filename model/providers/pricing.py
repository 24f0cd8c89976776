"""What model calls cost, in US dollars for a million tokens."""

from datetime import date

from sam3_agent.planner import Price
from sam3_agent.usage import TokenUsage

__all__ = ["PRICES", "Price", "known_price"]

AS_OF = "2026-06-28"
"""The day of the published price lists that PRICES was read from, Gemini's on GEMINI_AS_OF; prices
change."""

GEMINI_AS_OF = "2026-10-07"

PRICES = {
    "gpt-5.5": Price(5.00, 0.50, 30.00),
    "gpt-5.4": Price(2.50, 0.25, 15.00),
    "gpt-5.4-mini": Price(0.75, 0.075, 4.50),
    "gpt-5.4-nano": Price(0.20, 0.02, 1.25),
    # Gemini: ai.google.dev/gemini-api/docs/pricing, paid tier, text and images, prompts up to
    # 200,000 tokens, as transcribed by api-evangelist/deepmind on GEMINI_AS_OF, if nothing else is
    # said. Cached input, a tenth of input for each of them: BerriAI/litellm discussion 39357
    # (3.8), simstudioai/sim 4660 (3.5) and 5812 (3.6, 3.5 lite), docs.rs/everruns-contracts (3.1
    # pro).
    "gemini-3.8-flash": Price(0.75, 0.075, 3.75),
    # as 3.8, by the release notes of taruma/PromptLab 2.5.1 (2026-09-02)
    "gemini-3.7-flash": Price(0.75, 0.075, 3.75),
    "gemini-3.6-flash": Price(0.75, 0.075, 3.75),
    "gemini-3.5-flash": Price(1.50, 0.15, 9.00),
    "gemini-3.5-flash-lite": Price(0.30, 0.03, 2.50),
    "gemini-3.1-pro-preview": Price(2.00, 0.20, 12.00),
    # macaron.im, which quotes Google's page of 2026-03-03; modelpedia.dev has the same
    "gemini-3.1-flash-lite": Price(0.25, 0.025, 1.50),
    # factquire.com, which quotes Google's page of 2026-07-04
    "gemini-3-flash-preview": Price(0.50, 0.05, 3.00),
    "gemini-2.5-pro": Price(1.25, 0.125, 10.00),
    "gemini-2.5-flash": Price(0.30, 0.03, 2.50),
}
"""Models whose price is known; any other has an unknown cost unless a price is given."""

LATER = {
    f"gemini-{version}-flash": (date(2027, 1, 1), Price(1.50, 0.15, 7.50))
    for version in ("3.8", "3.7", "3.6")
}
"""Prices announced together with those in PRICES: the day from which they hold."""


def known_price(model: str, day: date | None = None) -> Price | None:
    """What a model costs on a day, today by default; None where that is not known."""
    since, price = LATER.get(model, (date.max, None))
    return price if (day or date.today()) >= since else PRICES.get(model)


def price_for(model: str, given: Price | tuple[float, float, float] | None) -> Price | None:
    """The price that a caller gave, as a Price or its three numbers, else the known one."""
    return Price(*given) if isinstance(given, tuple) else given or known_price(model)


def token_usage(
    price: Price | None, inputs: int, cached: int, outputs: int, reasoning: int
) -> TokenUsage:
    """The tokens of one response, and their cost where the price is known.

    inputs includes the cached ones, outputs the reasoning.
    """
    return TokenUsage(
        input_tokens=inputs,
        cached_tokens=cached,
        output_tokens=outputs,
        reasoning_tokens=reasoning,
        cost=price.cost(inputs, cached, outputs) if price and inputs else None,
    )


def token_count(value: object) -> int:
    """A count of tokens as a server sent it; 0 for what is no count."""
    return value if type(value) is int and 0 < value < 2**53 else 0
