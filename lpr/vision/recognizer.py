"""`PlateRecognizer` on OpenVINO."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from lpr.domain.errors import VisionError
from lpr.domain.frame import Image
from lpr.domain.plate import PlateColour
from lpr.plates.alphabet import ALPHABET
from lpr.vision.base import Recognition
from lpr.vision.engine import Network, Outputs

DEFAULT_MARGIN = 0.06


class OpenVinoRecognizer:
    """Reads straightened plates with one compiled network. Alphabet, colours and margin come with the weights."""

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
        places = outputs.get("places")  # a network that was made elsewhere may not tell
        places = None if places is None else np.asarray(places[0], np.float32)
        return Recognition(np.asarray(characters, np.float32), float(rows[1]), colours, float(readable), places)
