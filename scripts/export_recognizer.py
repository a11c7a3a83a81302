"""Turn a training run's averaged weights into models/recognizer.xml and .bin, in FP16 or on demand in INT8.

    python -m scripts.export_recognizer RUN/checkpoint.pt [--out models] [--backgrounds FOLDER] [--precision int8|fp16]

The IR takes u8 NHWC BGR of fixed size, one crop; scale, softmax and sigmoid are inside. Outputs: `characters`
[1, slots, classes], `rows` [1, 2] (one, two), `colour` [1, 5], `readable` [1, 1], all probabilities, and `places`
[1, slots, 2], where each slot looked (x and y as fractions of the crop), which tells the rows' layout. What a program
must know of the weights (alphabet, margin, colours, version) stands in rt_info, section `lpr`. Calibration pictures
are rendered plates; before INT8 is kept, it is held against the float network on other rendered plates.
"""

from __future__ import annotations

import argparse
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
from scripts.render.crops import COLOURS, CROP_HEIGHT, CROP_MARGIN, CROP_WIDTH
from scripts.render.samples import Batch, load_backgrounds, render_batch

OUTPUTS: Final = ("characters", "rows", "colour", "readable", "places")
CALIBRATION, CONTROL = 600, 1500
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
        )


def load(checkpoint: Path) -> tuple[RecognizerNet, dict[str, Any]]:
    """The averaged network of a checkpoint, ready to infer, and the checkpoint."""
    state = torch.load(checkpoint, weights_only=False)
    net = RecognizerNet(NetSettings(**state["net_settings"]))
    net.load_state_dict(state["averaged"])
    net.eval()
    return net, state


def convert(net: RecognizerNet, state: dict[str, Any]) -> ov.Model:
    """The IR in float, with names and rt_info."""
    example = torch.zeros((1, CROP_HEIGHT, CROP_WIDTH, 3), dtype=torch.uint8)
    model = ov.convert_model(Exported(net), example_input=example, input=[("image", list(example.shape), ov.Type.u8)])
    for output, name in zip(model.outputs, OUTPUTS, strict=True):
        output.get_tensor().set_names({name})
    describe(model, state)
    return model


def describe(model: ov.Model, state: dict[str, Any]) -> None:
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
    }
    for key, value in facts.items():
        model.set_rt_info(value, ["lpr", key])


def quantised(model: ov.Model, pictures: NDArray[np.uint8]) -> ov.Model:
    """The model in INT8, calibrated on `pictures` (n, H, W, 3), its first convolution left in float.

    A dark or washed-out plate fills a small part of the range that calibration finds behind the first convolution:
    quantised there, INT8 read 1.4 points less of hard rendered plates, without that one as many as float.
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
        ignored_scope=nncf.IgnoredScope(names=[first]),
    )


def control_figures(model: ov.Model, samples: Batch) -> tuple[float, int]:
    """Share of readable samples whose text is exactly right, and how many unreadable ones got a sure text all the same.

    In float arithmetic where the model is float.
    """
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})
    request = compiled.create_infer_request()
    right = false = 0
    for image, characters, readable in zip(samples.images, samples.characters, samples.readable, strict=True):
        request.infer([image[None]])
        said = request.get_tensor("characters").data[0]
        if readable:
            right += int((said.argmax(axis=1) == characters).all())
        else:
            false += int(said.max(axis=1).prod() >= SURE and (said.argmax(axis=1) != BLANK).any())
    return right / max(1, int(samples.readable.sum())), false


def main() -> None:
    """Read the arguments, convert, quantise where it pays, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "models")
    parser.add_argument("--backgrounds", type=Path, help="folder of plate-free pictures, as in training")
    parser.add_argument("--precision", choices=("int8", "fp16"), default="fp16")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    net, state = load(arguments.checkpoint)
    model = convert(net, state)
    if arguments.precision == "int8":
        backgrounds = load_backgrounds(arguments.backgrounds)
        small = quantised(model, render_batch(Random(31), backgrounds, CALIBRATION).images)
        control = render_batch(Random(32), backgrounds, CONTROL)
        (before, false_before), (after, false_after) = control_figures(model, control), control_figures(small, control)
        print(f"rendered control plates exactly right: float {before:.4f}, INT8 {after:.4f}")
        print(f"texts at {SURE} or more where there is none to read: float {false_before}, INT8 {false_after}")
        if before - after <= MAX_LOSS and false_after <= false_before:
            describe(small, state)
            small.set_rt_info("int8", ["lpr", "precision"])
            model = small
        else:
            print("INT8 costs too much: keeping FP16")
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "recognizer.xml"
    ov.save_model(model, path, compress_to_fp16=True)
    print(f"{path}: {(path.stat().st_size + path.with_suffix('.bin').stat().st_size) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
