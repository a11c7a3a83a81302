"""Turn a training run's averaged weights into models/recognizer.xml and .bin, in FP16 or on demand in INT8.

    python -m scripts.export_recognizer RUN/best.pt [RUN/best.pt ...] [--out models] [--precision int8 --data DATA]

Of several checkpoints the mean of their weights is taken, which reads more than any of them where they began with the
same weights; the facts are those of the last.

The IR takes u8 NHWC BGR of fixed size, one crop; scale, softmax and sigmoid are inside. Outputs: `characters`
[1, slots, classes], `rows` [1, 2] (one, two), `colour` [1, 5], `readable` [1, 1], all probabilities; `places`
[1, slots, 2], where each slot looked (x and y as fractions of the crop), which tells the rows' layout; and `corners`
[1, 4, 2], where the plate's corners lie in the crop, in the same form, which tells whether to cut it again. What a
program must know of the weights (alphabet, margin, colours, version) stands in rt_info, section `lpr`. Calibration
pictures are rendered plates and photographs that may train; before INT8 is kept, it is held against the float network
on other rendered plates.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import cv2
import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lpr.plates.alphabet import ALPHABET, BLANK, SLOTS
from scripts.recognizer_net import CELLS_HIGH, CELLS_WIDE, NetSettings, RecognizerNet
from scripts.render.crops import COLOURS, CROP_HEIGHT, CROP_MARGIN, CROP_WIDTH, Image, RealPlate, real_crop
from scripts.render.samples import Batch, Sources, load_backgrounds, load_real, render_batch
from scripts.training.files import load_checkpoint
from scripts.training.weights import NET_INFO

OUTPUTS: Final = ("characters", "rows", "colour", "readable", "places", "corners")
CALIBRATION, CONTROL = 600, 3000
CALIBRATION_SEED, CONTROL_SEED = 31, 32
SURE: Final = 0.8
MAX_LOSS: Final = 0.002
"""Share of control plates that INT8 may read worse before it is refused."""


class Exported(nn.Module):
    """The network with its input's form and its outputs' meaning inside."""

    def __init__(self, net: RecognizerNet) -> None:
        super().__init__()
        self.net = net
        x = (torch.arange(CELLS_WIDE).float() + 0.5) / CELLS_WIDE
        y = (torch.arange(CELLS_HIGH).float() + 0.5) / CELLS_HIGH
        grid = torch.stack((x.repeat(CELLS_HIGH), y.repeat_interleave(CELLS_WIDE)), dim=1)
        self.register_buffer("grid", grid)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """u8 (1, H, W, 3) to the outputs in the order of OUTPUTS."""
        out = self.net(image.permute(0, 3, 1, 2).float())
        places = out.attention.softmax(dim=1).transpose(1, 2) @ self.grid
        return (
            out.characters.softmax(dim=2),
            out.rows.softmax(dim=1),
            out.colour.softmax(dim=1),
            out.readable.sigmoid()[:, None],
            places,
            out.corners,
        )


def load(*checkpoints: Path) -> tuple[RecognizerNet, dict[str, Any]]:
    """The averaged network of a checkpoint, or the mean of several, ready to infer; and the last checkpoint.

    Raises `FileNotFoundError`, `ValueError` where they hold networks of different shapes.
    """
    states = [_state(checkpoint) for checkpoint in checkpoints]
    last = states[-1]
    if any(state["net_settings"] != last["net_settings"] for state in states):
        raise ValueError("these checkpoints hold networks of different shapes")
    net = RecognizerNet(NetSettings(**last["net_settings"]))
    net.load_state_dict(mean_of([state["averaged"] for state in states]))
    net.eval()
    return net, last


def _state(checkpoint: Path) -> dict[str, Any]:
    state = load_checkpoint(checkpoint)
    if state is None:
        raise FileNotFoundError(f"there is no checkpoint {checkpoint}")
    return state


def mean_of(weights: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of several networks' weights, name by name; counters are those of the last."""
    return {
        name: torch.stack([each[name] for each in weights]).mean(dim=0) if value.is_floating_point() else value
        for name, value in weights[-1].items()
    }


def convert(net: RecognizerNet, state: dict[str, Any]) -> ov.Model:
    """The IR in float, with names and rt_info."""
    model = to_openvino(net)
    describe(model, state, "fp16")
    return model


def to_openvino(net: RecognizerNet) -> ov.Model:
    """The IR in float, its input and outputs named."""
    example = torch.zeros((1, CROP_HEIGHT, CROP_WIDTH, 3), dtype=torch.uint8)
    shape = [("image", list(example.shape), ov.Type.u8)]
    with warnings.catch_warnings():
        # Shapes are static here: what the tracer warns of cannot happen. That it is deprecated is OpenVINO's concern.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.filterwarnings("ignore", r"`torch\.jit\.", DeprecationWarning)
        model = ov.convert_model(Exported(net), example_input=example, input=shape)
    for output, name in zip(model.outputs, OUTPUTS, strict=True):
        output.get_tensor().set_names({name})
    return model


def describe(model: ov.Model, state: dict[str, Any], precision: str) -> None:
    """Write down inside the file what its users need to know."""
    facts = {
        "version": f"recognizer-1 seed {state['settings']['seed']} step {state['step']}",
        "input": "u8 NHWC BGR",
        "alphabet": ALPHABET,
        "blank": str(BLANK),
        "slots": str(SLOTS),
        "colours": ",".join(COLOURS),
        "margin": str(CROP_MARGIN),
        "outputs": ",".join(OUTPUTS),
        "trained_samples": str(state["samples"]),
        "precision": precision,
        NET_INFO: json.dumps(state["net_settings"]),
    }
    for key, value in facts.items():
        model.set_rt_info(value, ["lpr", key])


def quantised(model: ov.Model, pictures: NDArray[np.uint8]) -> ov.Model:
    """The model in INT8, calibrated on `pictures` (n, H, W, 3), its first convolution left in float.

    A dark or washed-out plate fills a small part of the range that calibration finds behind the first convolution:
    quantised there, INT8 read 1.4 points less of hard rendered plates, without that one as many as float. Biases are
    corrected layer by layer, with what the layers before really give: slower than the usual guess, and worth it. Of
    2500 rendered plates, 96 instead of 261 got another text than from float.
    """
    import nncf

    operations = model.get_ordered_ops()
    first = next(each.get_friendly_name() for each in operations if each.get_type_name() == "Convolution")

    dataset = nncf.Dataset([picture[None] for picture in pictures])
    return nncf.quantize(
        model,
        dataset,
        model_type=nncf.ModelType.TRANSFORMER,
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(pictures),
        fast_bias_correction=False,
        ignored_scope=nncf.IgnoredScope(names=[first]),
    )


def calibration_pictures(backgrounds: list[Image], real: list[RealPlate]) -> NDArray[np.uint8]:
    """What activations are measured on: rendered crops, a third of photographs where some may train."""
    random = Random(CALIBRATION_SEED)
    crops = [real_crop(random.choice(real), random).image for _ in range(CALIBRATION // 3 if real else 0)]
    rendered = render_batch(random, backgrounds, CALIBRATION - len(crops)).images
    return np.concatenate([rendered, np.array(crops, np.uint8).reshape(-1, *rendered.shape[1:])])


def control_figures(model: ov.Model, samples: Batch) -> dict[str, float]:
    """How the model reads rendered samples, in float arithmetic where the model is float.

    `exact` and `signs`: shares of the readable samples' texts and of their characters that are right; `false_sure`: how
    many samples with nothing to read got a sure text all the same.
    """
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
    right = right_signs = signs = false_sure = 0
    for image, characters, readable in zip(samples.images, samples.characters, samples.readable, strict=True):
        request.infer([image[None]])
        said = request.get_tensor("characters").data[0]
        same, there = said.argmax(axis=1) == characters, characters != BLANK
        if readable:
            right, right_signs, signs = right + same.all(), right_signs + (same & there).sum(), signs + there.sum()
        else:
            false_sure += said.max(axis=1).prod() >= SURE and bool((said.argmax(axis=1) != BLANK).any())
    return {
        "exact": round(float(right) / max(1, int(samples.readable.sum())), 4),
        "signs": round(float(right_signs) / max(1, int(signs)), 4),
        "false_sure": int(false_sure),
    }


def chance(samples: Batch) -> float:
    """The share of characters that is right where the likeliest text is said of every sample, without a look at it."""
    characters = samples.characters[samples.readable.astype(bool)]
    there = characters != BLANK
    best = [np.bincount(slot[slot != BLANK], minlength=1).max() for slot in characters.T]
    return round(float(np.sum(best)) / max(1, int(there.sum())), 4)


def costs_nothing(before: dict[str, float], after: dict[str, float]) -> bool:
    """Whether INT8 reads as well as float."""
    return before["exact"] - after["exact"] <= MAX_LOSS and after["false_sure"] <= before["false_sure"]


def main() -> None:
    """Read the arguments, convert, quantise where it pays, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path, nargs="+", metavar="checkpoint")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "models")
    parser.add_argument("--data", type=Path, help="holds train/ with photographs, as in training")
    parser.add_argument("--precision", choices=("int8", "fp16"), default="fp16")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        net, state = load(*arguments.checkpoints)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from error
    model = convert(net, state)
    if arguments.precision == "int8":
        sources = Sources.of(arguments.data)
        backgrounds = load_backgrounds(sources.backgrounds)
        small = quantised(model, calibration_pictures(backgrounds, load_real(sources.real)))
        describe(small, state, "int8")
        control = render_batch(Random(CONTROL_SEED), backgrounds, CONTROL)
        before, after = control_figures(model, control), control_figures(small, control)
        print(f"rendered control plates: float {before}, INT8 {after}")
        if costs_nothing(before, after):
            model = small
        else:
            print("INT8 costs too much: keeping FP16")
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "recognizer.xml"
    ov.save_model(model, path, compress_to_fp16=True)
    print(f"{path}: {(path.stat().st_size + path.with_suffix('.bin').stat().st_size) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
