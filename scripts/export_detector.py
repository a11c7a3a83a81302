"""Export the detector: checkpoint -> OpenVINO IR with its facts inside, quantised to INT8, and the golden picture.

    python -m scripts.export_detector RUN/last.pt                    # FP16 weights
    python -m scripts.export_detector RUN/last.pt --int8 DATA        # INT8, calibrated on scenes from DATA/train

Writes models/detector.xml and .bin, golden.png and golden.json.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
import torch

from lpr.vision.engine import RT_INFO, load_openvino
from scripts.detector_net import Deployed, Detector
from scripts.render.drawn import draw_background
from scripts.render.laying import lay
from scripts.render.material import PlatePicture, load_material, plate_pool
from scripts.render.plate import draw_plate
from scripts.render.plate_spec import PlateSpec
from scripts.render.scene import render_scene
from scripts.train_detector import held_out

OUTPUT = "plates"
SIDE = 320
CALIBRATION_PICTURES = 300
CONFIDENCE = 0.35
"""Lets badges and lamps pass, which the recogniser rejects: a missed vehicle costs more."""


def load_network(checkpoint: Path) -> tuple[Detector, dict[str, Any]]:
    """The running mean of the weights, and what else the checkpoint holds."""
    kept = torch.load(checkpoint, weights_only=True, map_location="cpu")
    network = Detector()
    network.load_state_dict(
        {name.removeprefix("module."): value for name, value in kept["steady"].items() if name.startswith("module.")}
    )
    return network.eval(), kept


def to_openvino(network: Detector, ov: Any) -> Any:
    """The network with decoding, u8 NHWC input and scaling inside, at a static 320 x 320."""
    from openvino.preprocess import PrePostProcessor

    with torch.no_grad(), warnings.catch_warnings():
        # Shapes are static here: what the tracer warns of cannot happen. That it is deprecated is OpenVINO's concern.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.filterwarnings("ignore", r"`torch\.jit\.", DeprecationWarning)
        model = ov.convert_model(Deployed(network).eval(), example_input=torch.zeros(1, 3, SIDE, SIDE))
    model.reshape([1, 3, SIDE, SIDE])
    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().model().set_layout(ov.Layout("NCHW"))
    steps.input().preprocess().convert_element_type(ov.Type.f32).scale(255.0)
    model = steps.build()
    model.inputs[0].set_names({"image"})
    model.outputs[0].set_names({OUTPUT})
    return model


def describe(model: Any, kept: dict[str, Any], precision: str, confidence: float, version: str) -> None:
    """Write down inside the file what its users need to know."""
    facts = {
        "version": version,
        "input": "u8 NHWC BGR",
        "confidence": str(confidence),
        "precision": precision,
        "steps": str(kept["step"]),
        "seed": str(kept["settings"]["seed"]),
        "minutes": f"{kept['spent_s'] / 60:.0f}",
    }
    for key, value in facts.items():
        model.set_rt_info(value, [RT_INFO, key])


def quantise(model: Any, data: Path | None) -> Any:
    """INT8 by NNCF; the last layer stays as it is, because distances need finer steps than a 256th of their range.

    Calibrated on scenes with the photographs of `data`/train, on drawn ones without.
    """
    import nncf

    material = load_material(data, plate_pool(300, 4321), held_out)
    rng = np.random.default_rng(11)
    scenes = [render_scene(rng, material, (SIDE, SIDE)).image[None] for _ in range(CALIBRATION_PICTURES)]
    last = decoding_names(model)
    return nncf.quantize(
        model,
        nncf.Dataset(scenes),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=CALIBRATION_PICTURES,
        ignored_scope=nncf.IgnoredScope(names=last, validate=False),
    )


def decoding_names(model: Any) -> list[str]:
    """Names of the last convolution and of everything behind it."""
    order = model.get_ordered_ops()
    convolutions = [i for i, op in enumerate(order) if op.get_type_name() == "Convolution"]
    behind = {order[convolutions[-1]].get_friendly_name()}
    front = [order[convolutions[-1]]]
    while front:
        for output in front.pop().outputs():
            for target in output.get_target_inputs():
                op = target.get_node()
                if op.get_friendly_name() not in behind and op.get_type_name() != "Result":
                    behind.add(op.get_friendly_name())
                    front.append(op)
    return sorted(behind)


def draw_golden(folder: Path) -> None:
    """Write a rendered picture with one plain plate, and its answer."""
    from lpr.domain.plate import PlateColour

    rng = np.random.default_rng(20)
    image = draw_background(rng, 640, 480)
    cv2.rectangle(image, (180, 180), (470, 420), (38, 34, 30), -1)
    spec = PlateSpec("51F12345", ("51F-123.45",), "car", PlateColour.WHITE, 520 / 110)
    plate = draw_plate(spec, Random(4), 1.0)
    quad = np.array([[236, 286], [416, 292], [414, 333], [235, 326]], np.float32)
    lay(rng, image, PlatePicture(plate.image, plate.corners, plate.body), quad, lit=0.85)
    image = cv2.GaussianBlur(image, (0, 0), 0.6)
    cv2.imwrite(str(folder / "golden.png"), image)
    answer = {"text": spec.text, "corners": quad.tolist(), "made_by": "scripts/export_detector.py"}
    (folder / "golden.json").write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Read the arguments, export, say what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--int8", type=Path, metavar="DATA", help="quantise, calibrated on DATA/train")
    parser.add_argument("--out", type=Path, default=Path("models"))
    parser.add_argument("--name", default="detector")
    parser.add_argument("--confidence", type=float, default=CONFIDENCE, help="threshold stored with the weights")
    parser.add_argument("--version", default="1", help="stored with the weights")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    ov = load_openvino()
    network, kept = load_network(arguments.checkpoint)
    model = to_openvino(network, ov)
    if arguments.int8 is not None:
        model = quantise(model, arguments.int8)
    precision = "int8" if arguments.int8 is not None else "fp16"
    describe(model, kept, precision, arguments.confidence, arguments.version)
    arguments.out.mkdir(exist_ok=True)
    path = arguments.out / f"{arguments.name}.xml"
    ov.save_model(model, path, compress_to_fp16=True)
    draw_golden(arguments.out)
    size = path.stat().st_size + path.with_suffix(".bin").stat().st_size
    print(f"{path}: {size / 1e6:.2f} MB, {precision}")


if __name__ == "__main__":
    main()
