"""What is wrong with a data set: file, line, value and the rule that is broken."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from accel_yolo.errors import printable


@dataclass(frozen=True)
class Problem:
    """One finding of the verification.

    Attributes:
        file: the image or label file.
        line: line in a label file, counted from 1; 0 means the whole file.
        value: the offending value as text; "" when there is none to show.
        rule: what should have been.
        drops_image: the image cannot be used; False is a mere warning.
    """

    file: str
    line: int
    value: str
    rule: str
    drops_image: bool = True

    def __str__(self) -> str:
        """Return "file:line: rule: value", safe to print whatever bytes the name holds."""
        place = f"{printable(self.file)}:{self.line}" if self.line else printable(self.file)
        value = f": {printable(self.value)}" if self.value else ""
        return f"{place}: {printable(self.rule)}{value}"

    def as_dict(self) -> dict[str, object]:
        """Return the fields as plain data for JSON."""
        return asdict(self)


class BadFile(Exception):
    """Raised by readers with the `Problem` they met; never reaches the user."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem
