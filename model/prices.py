"""What model calls cost, in US dollars for a million tokens."""

from dataclasses import dataclass

AS_OF = "2026-06-28"
"""The day of the published price lists that PRICES was read from; prices change."""


@dataclass(frozen=True)
class Price:
    """US dollars for a million tokens; cached: input that the provider had cached."""

    input: float
    cached: float
    output: float

    def cost(self, input_tokens: int, cached_tokens: int, output_tokens: int) -> float:
        """US dollars; `input_tokens` includes the cached ones, `output_tokens` the reasoning."""
        fresh = max(0, input_tokens - cached_tokens)
        total = fresh * self.input + cached_tokens * self.cached + output_tokens * self.output
        return total / 1e6


PRICES = {
    "gpt-5.5": Price(5.00, 0.50, 30.00),
    "gpt-5.4": Price(2.50, 0.25, 15.00),
    "gpt-5.4-mini": Price(0.75, 0.075, 4.50),
    "gpt-5.4-nano": Price(0.20, 0.02, 1.25),
    "gemini-2.5-pro": Price(1.25, 0.125, 10.00),
    "gemini-2.5-flash": Price(0.30, 0.03, 2.50),
}
"""Models whose price is known; any other has an unknown cost unless a price is given."""
