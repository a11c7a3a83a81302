"""What every section of the configuration is made of: the base, and the kinds of values that keys have."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from lpr.domain.geometry import Point

SafeId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A name that stands in addresses, file names and metrics as it is."""

# Strict: `true` is no number and "8" in quotes is text.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Whole = Annotated[int, Field(strict=True)]
Switch = Annotated[bool, Field(strict=True)]
Fraction = Annotated[Number, Field(ge=0.0, le=1.0)]
Fractions = tuple[Number, Number]


def lower_case(value: object) -> object:
    """How a choice is meant, however it is written; what is no text stays for the next validator."""
    return value.strip().lower() if isinstance(value, str) else value


def _upper_case(value: object) -> object:
    return value.strip().upper() if isinstance(value, str) else value


Device = Annotated[str, BeforeValidator(_upper_case), Field(pattern=r"^[A-Z][A-Z0-9_.:,-]*$", max_length=60)]
"""An OpenVINO device, upper case: `CPU`, `GPU`, `GPU.1`, `NPU`, `AUTO`, `AUTO:GPU,CPU`."""


def check_points(points: tuple[Point, ...]) -> None:
    """Raise `ValueError` where one lies outside the frame, in fractions of it."""
    for x, y in points:
        if not (0.0 <= x <= 1.0 and 0.0 <= y <= 1.0):
            raise ValueError(f"has the point [{x:g}, {y:g}]: both must be fractions of the frame, 0 to 1, not pixels")


class MistakeBelowError(ValueError):
    """A mistake that is seen only from above; `below` is the way to it from there, so that its line can be told."""

    def __init__(self, below: tuple[str | int, ...], words: str) -> None:
        super().__init__(words)
        self.below = below


class Section(BaseModel):
    """What all sections share: frozen, no unknown keys, no secrets in errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_section_is_absent(cls, value: Any) -> Any:
        """`outbox:` with nothing but comments under it means its defaults."""
        if not isinstance(value, dict):
            return value
        return {key: item for key, item in value.items() if item is not None or not _is_section(cls, key)}


def _is_section(model: type[Section], key: str) -> bool:
    field = model.model_fields.get(key)
    return field is not None and isinstance(field.annotation, type) and issubclass(field.annotation, Section)
