"""`PlateRecognizer` on OpenVINO."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lpr.domain.errors import VisionError
from lpr.domain.frame import Image
from lpr.domain.plate import PlateColour
from lpr.plates.alphabet import ALPHABET
from lpr.vision.base import Recognition
from lpr.vision.engine import Network, Outputs

DEFAULT_MARGIN = 0.06
TEMPERATURE = "temperature"
"""Its name among the facts that are stored with the weights."""
LEAST_PROBABILITY = 1e-9


class OpenVinoRecognizer:
    """Reads straightened plates with one compiled network. Alphabet, colours and margin come with the weights.

    So does a temperature: above 1 where `scripts/calibrate.py` found the network too sure of itself, below where it is
    surer than it says. Each character's distribution is tempered, so that votes over many frames are calibrated, too.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        alphabet = network.info.get("alphabet", ALPHABET)
        if alphabet != ALPHABET:
            raise VisionError(
                f"{network.name} was trained for the alphabet {alphabet}, this version reads {ALPHABET}",
                hint="use the networks that came with this version of the agent",
            )
        names = network.info.get("colours", ",".join(PlateColour)).split(",")
        self._colours = tuple(PlateColour(name.strip()) for name in names)
        self.crop_margin = float(network.info.get("margin", DEFAULT_MARGIN))
        self.temperature = _temperature(network)

    @property
    def crop_size(self) -> tuple[int, int]:
        """Width and height of the crops it reads, in pixels."""
        return self.network.size

    async def read(self, crops: Sequence[Image]) -> tuple[Recognition, ...]:
        """What each crop says; see `PlateRecognizer`."""
        return tuple(await asyncio.gather(*(self.network.infer(crop, self._decode) for crop in crops)))

    def _decode(self, outputs: Outputs) -> Recognition:
        try:
            characters, rows = outputs["characters"][0], outputs["rows"][0]
            colour, readable = outputs["colour"][0], outputs["readable"].reshape(-1)[0]
        except KeyError as error:
            raise VisionError(f"{self.network.name} has no output named {error}, but {', '.join(outputs)}") from error
        if characters.ndim != 2 or characters.shape[1] != len(ALPHABET) + 1:
            raise VisionError(f"{self.network.name} answered with characters of shape {characters.shape}")
        colours = {name: float(value) for name, value in zip(self._colours, colour, strict=True)}
        # A network that was made elsewhere may not tell.
        places, corners = (
            None if name not in outputs else np.array(outputs[name][0], np.float32) for name in ("places", "corners")
        )
        tempered = temper(np.asarray(characters, np.float32), self.temperature)
        return Recognition(tempered, float(rows[1]), colours, float(readable), places, corners)


def temper(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Distributions [slots, classes], each made flatter by a temperature above 1 and steeper by one below."""
    if temperature == 1.0:
        return probabilities
    raised = np.maximum(probabilities, np.float32(LEAST_PROBABILITY)) ** np.float32(1 / temperature)
    tempered: NDArray[np.float32] = raised / raised.sum(axis=1, keepdims=True)
    return tempered


def _temperature(network: Network) -> float:
    stored = network.info.get(TEMPERATURE, "1")
    try:
        temperature = float(stored)
    except ValueError:
        temperature = 0.0
    if not 0.1 <= temperature <= 10:
        raise VisionError(
            f"{network.name} carries the temperature {stored!r}, which is no number from 0.1 to 10",
            hint="calibrate the network again: python -m scripts.calibrate",
        )
    return temperature
