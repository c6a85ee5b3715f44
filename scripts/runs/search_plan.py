"""What a search of puzzles is asked for (`scripts.runs.exploration`); read without torch."""

from pydantic import Field

from reasoning.names import LARGEST_SEED
from reasoning.search_config import SearchConfig
from scripts.terminal.choices import Headline


class Plan(SearchConfig):
    """A search, the images of each puzzle that are searched, and the rule of the headline."""

    symmetries: int = Field(
        1, gt=0, description="images of each puzzle under its symmetries; the first is itself"
    )
    select: Headline | None = Field(
        None,
        description="rule of the headline; none: single for one candidate, else residual, or "
        "restart where a claim ends the puzzle",
    )
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="seed of starts, noise and symmetries")

    @property
    def candidates(self) -> int:
        """K, starts times images."""
        return self.breadth * self.symmetries

    @property
    def claim_ends(self) -> bool:
        """A claim ends its puzzle's candidates: what fewer segments would give is not known."""
        return self.until_claimed and self.candidates > 1

    def depths(self, segments: int) -> tuple[int, ...]:
        """Segments at which the candidates are scored."""
        return (segments,) if self.claim_ends else doublings(segments)

    @property
    def rule(self) -> Headline:
        """The rule of the headline."""
        several = "restart" if self.until_claimed else "residual"
        return self.select or ("single" if self.candidates == 1 else several)


def doublings(most: int) -> tuple[int, ...]:
    """1, 2, 4, ... and `most`."""
    powers = [2**i for i in range(most.bit_length()) if 2**i < most]
    return (*powers, most)
