"""The recogniser's weights read back out of an IR, so that training can go on from the network that ships.

An export folds each batch norm into the convolution before it. What comes back is a network whose batch norms do
nothing but add what was folded; they must stay in `eval` mode (`freeze_norms`), since the statistics that they once had
are gone. So is the head that names cells, which serves training alone: it begins anew.
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
from scripts.recognizer_net import CELLS_HIGH, CELLS_WIDE, NetSettings, RecognizerNet

_ADDED_TO: Final = {CELLS_HIGH * CELLS_WIDE: "position", SLOTS: "slot"}
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


def _plain_norms(net: RecognizerNet) -> dict[str, Tensor]:
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
