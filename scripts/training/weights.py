"""The networks' weights read back out of an IR, so that training can go on from what ships.

An export folds each batch norm into the convolution before it. What comes back is a network whose batch norms do
nothing but add what was folded; they must stay in `eval` mode (`freeze_norms`), since the statistics that they once had
are gone. So is the recogniser's head that names cells, which serves training alone: it begins anew. INT8 weights come
back as the numbers that they stand for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from lpr.domain.errors import VisionError
from lpr.plates.alphabet import SLOTS
from lpr.vision.engine import RT_INFO, load_openvino
from scripts.detector_net import Detector
from scripts.recognizer_net import CELLS_HIGH, CELLS_WIDE, NetSettings, RecognizerNet

_ADDED_TO: Final = {CELLS_HIGH * CELLS_WIDE: "position", SLOTS: "slot"}
_CONVOLUTIONS: Final = (
    *("stem", "at_4.0", "at_4.1.narrow", "at_4.1.wide"),
    *("at_8.0", "at_8.1.narrow", "at_8.1.wide", "at_8.2.narrow", "at_8.2.wide", "from_8"),
    *("at_16.0", "at_16.1.narrow", "at_16.1.wide", "at_16.2.narrow", "at_16.2.wide", "at_16.3.narrow", "at_16.3.wide"),
    *("from_16", "at_32.0", "at_32.1.narrow", "at_32.1.wide", "at_32.2.narrow", "at_32.2.wide", "from_32"),
    *("fuse_16", "fuse_8", "head.0.narrow", "head.0.wide", "head.1.narrow", "head.1.wide", "out"),
)
"""The detector's, in the order in which a graph calculates them: quantising takes their names away."""
NET_INFO: Final = "net"
"""Under this name an export keeps the network's settings in the IR, as JSON."""


def read_weights(path: Path) -> tuple[RecognizerNet, NetSettings, dict[str, str]]:
    """The network of the IR at `path`, its settings and what else stands in its rt_info.

    Raises `VisionError` where it is none of this project's form.
    """
    ov = load_openvino()
    model = ov.Core().read_model(path)
    kept = model.rt_info[RT_INFO] if RT_INFO in model.rt_info else {}  # noqa: SIM401 - OpenVINO's own mapping, no `get`
    info = {key: str(value.value) for key, value in kept.items()}
    settings = _settings(info)
    net = RecognizerNet(settings)
    found = _values(ov, dict(_parameters(model)))
    wanted = net.state_dict()
    new = {name: value for name, value in wanted.items() if name.startswith("cell.")}
    found = new | _plain_norms(net) | found
    missing = sorted(set(wanted) - set(found))
    strange = [name for name in wanted if name in found and found[name].numel() != wanted[name].numel()]
    if missing or strange:
        raise VisionError(
            f"{path} is no recogniser of this version's form: {', '.join([*missing, *strange][:4])} does not fit",
            hint="adapt the networks that came with this version of the project",
        )
    net.load_state_dict({name: found[name].reshape(value.shape).to(value.dtype) for name, value in wanted.items()})
    net.eval()
    return net, settings, info


def read_detector(path: Path) -> Detector:
    """The detector of the IR at `path`, in float or in INT8.

    Raises `VisionError` where it is none of this project's form.
    """
    ov = load_openvino()
    graph = ov.Core().read_model(path).get_ordered_ops()
    convolutions = [operation for operation in graph if operation.get_type_name() == "Convolution"]
    net = Detector()
    wanted, found = net.state_dict(), _plain_norms(net)
    if len(convolutions) == len(_CONVOLUTIONS):
        sources = {}
        for name, convolution in zip(_CONVOLUTIONS, convolutions, strict=True):
            [addition] = (reader.get_node() for reader in convolution.output(0).get_target_inputs())
            weight, bias = (f"{name}.0.weight", f"{name}.1.bias") if name != "out" else ("out.weight", "out.bias")
            sources |= {weight: convolution.input_value(1), bias: addition.input_value(_constant_side(addition))}
        found |= _values(ov, sources)
    if any(name not in found or found[name].numel() != value.numel() for name, value in wanted.items()):
        raise VisionError(
            f"{path} is no detector of this version's form",
            hint="start from the networks that came with this version of the project",
        )
    net.load_state_dict({name: found[name].reshape(value.shape).to(value.dtype) for name, value in wanted.items()})
    return net.eval()


def freeze_norms(net: nn.Module) -> None:
    """Put `net` in training mode but for its batch norms."""
    net.train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def _settings(info: dict[str, str]) -> NetSettings:
    if NET_INFO not in info:
        return NetSettings()
    stored = json.loads(info[NET_INFO])
    return NetSettings(**stored | {"stem": tuple(stored["stem"])})


def _plain_norms(net: nn.Module) -> dict[str, Tensor]:
    """State of norms that multiply by 1 and add 0: folded ones, and layer norms that a conversion left out as such."""
    state: dict[str, Tensor] = {}
    for name, module in net.named_modules():
        if isinstance(module, nn.LayerNorm):
            state[f"{name}.weight"] = torch.ones(module.normalized_shape)
            state[f"{name}.bias"] = torch.zeros(module.normalized_shape)
        if isinstance(module, nn.BatchNorm2d):
            ones = torch.ones(module.num_features)
            state[f"{name}.weight"], state[f"{name}.running_mean"] = ones, torch.zeros_like(ones)
            state[f"{name}.running_var"] = ones - module.eps
            state[f"{name}.num_batches_tracked"] = torch.tensor(0)
    return state


def _parameters(model: Any) -> Iterator[tuple[str, Any]]:
    """The name of each parameter in the network, and the output of the IR's graph that gives its value.

    The conversion names operations after the modules that they come from.
    """
    for operation in model.get_ordered_ops():
        name, kind = operation.get_friendly_name(), operation.get_type_name()
        scope, _, what = name.removeprefix("__module.").partition("/")
        if not name.startswith("__module.net"):
            continue
        scope = scope.removeprefix("net").removeprefix(".")
        if what == "aten::linear/MatMul":
            yield f"{scope}.weight", operation.input_value(1)
        elif what == "aten::linear/Add" or (what == "aten::layer_norm/Add" and kind == "Add"):
            yield f"{scope}.bias", operation.input_value(_constant_side(operation))
        elif what == "aten::layer_norm/Multiply_1":
            yield f"{scope}.weight", operation.input_value(_constant_side(operation))
        elif what == "aten::batch_norm/BatchNormInference":
            side = _constant_side(operation)
            yield f"{scope}.bias", operation.input_value(side)
            convolution = operation.input_value(1 - side).get_node()
            yield f"{scope.removesuffix('.1')}.0.weight", convolution.input_value(1)
        elif scope == "" and what.startswith("aten::add/Add"):
            added = operation.input_value(_constant_side(operation))
            # In which order the conversion numbers additions is its own affair; no two add to as many things.
            if (name := _ADDED_TO.get(added.get_partial_shape().get_min_shape()[1])) is not None:
                yield name, added


def _constant_side(operation: Any) -> int:
    """Which of an operation's two inputs does not depend on the picture."""
    return next(side for side in (1, 0) if not _depends(operation.input_value(side).get_node()))


def _depends(node: Any) -> bool:
    """Whether a picture flows into `node`. In these graphs it always comes in first, and conversions have one input."""
    while node.get_type_name() != "Parameter":
        if not node.get_input_size():
            return False
        node = node.input_value(0).get_node()
    return True


def _values(ov: Any, sources: dict[str, Any]) -> dict[str, Tensor]:
    """What comes out of each source, computed: FP16 and INT8 weights stand behind conversions."""
    model = ov.Model(list(sources.values()), [], "weights")
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    values = compiled([])
    return {name: torch.from_numpy(np.array(values[number], np.float32)) for number, name in enumerate(sources)}
