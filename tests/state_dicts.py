"""Small state dicts of two PyTorch codes, with random numbers in them."""

import numpy as np

N, M, H, INPUTS, OUTPUTS = 7, 3, 5, 4, 2
PAIR = ("read", "write")


def linear_shapes(name, inputs, outputs):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def lstm_shapes(name, layers, inputs):
    shapes = {}
    for k in range(layers):
        shapes[f"{name}.weight_ih_l{k}"] = (4 * H, H if k else inputs)
        shapes[f"{name}.weight_hh_l{k}"] = (4 * H, H)
        shapes |= {f"{name}.bias_{which}_l{k}": (4 * H,) for which in ("ih", "hh")}
    return shapes


def drawn(shapes, seed):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape) * 0.7 for name, shape in shapes.items()}


def pytorch_ntm_dict(kinds=PAIR, layers=1, seed=0, inputs=INPUTS, outputs=OUTPUTS):
    """What `EncapsulatedNTM.state_dict()` holds, for any list of heads."""
    width = kinds.count("read") * M
    shapes = {f"ntm.read{i}_bias": (1, M) for i in range(kinds.count("read"))}
    shapes |= {f"ntm.controller.lstm_{which}_bias": (layers, 1, H) for which in "hc"}
    shapes |= lstm_shapes("ntm.controller.lstm", layers, inputs + width)
    shapes |= linear_shapes("ntm.fc", H + width, outputs)
    for i, kind in enumerate(kinds):
        emitted = M + 6 if kind == "read" else 3 * M + 6
        shapes |= linear_shapes(f"ntm.heads.{i}.fc_{kind}", H, emitted)
    shapes["ntm.memory.mem_bias"] = (N, M)
    w = drawn(shapes, seed)
    copies = ["memory", *(f"ntm.heads.{i}.memory" for i in range(len(kinds)))]
    return w | {f"{name}.mem_bias": w["ntm.memory.mem_bias"] for name in copies}


def clemkoa_dict(seed=0, inputs=INPUTS, outputs=OUTPUTS):
    """What `NTM.state_dict()` holds."""
    shapes: dict[str, tuple[int, ...]] = {}
    shapes |= {
        f"controller._controller.lstm_{which}_state": (1, 1, H) for which in "hc"
    }
    shapes |= lstm_shapes("controller._controller.layer", 1, inputs + M)
    shapes |= {"memory.initial_read": (1, M), "memory.initial_state": (N, M)}
    shapes |= linear_shapes("fc", H + M, outputs)
    sizes = {"k": M, "beta": 1, "g": 1, "s": 3, "gamma": 1, "e": M, "a": M}
    for head in ("read_head", "write_head"):
        shapes[f"{head}._initial_state"] = (1, N)
        for part, size in sizes.items():
            if head == "write_head" or part not in "ea":
                shapes |= linear_shapes(f"{head}.{part}_layer", H, size)
    w = drawn(shapes, seed)
    shared = {name: w[name] for name in w if name.startswith("memory.")}
    for head in ("read_head", "write_head"):
        w |= {f"{head}.{name}": array for name, array in shared.items()}
    return w
