"""Devices to compile for that need not be here.

XLA compiles for a description of a device. `pip install -e '.[compile]'` brings its
compilers for GPUs and TPUs; on how fast a program runs they say nothing.
"""

import contextlib
import importlib.util
import os
from pathlib import Path
from typing import Any

import jax
from jax.experimental import topologies

# What XLA has to know of an NVIDIA H100 SXM: its `GpuTargetConfigProto`, as text.
_H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472 registers_per_core_limit: 65536
  registers_per_block_limit: 65536 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 84942979072 cuda_compute_capability { major: 9 minor: 0 }
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 12 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
# What each needs beside JAX, by the name to import.
NEEDS = {
    "cpu": (),
    "h100": ("jax_cuda13_plugin", "nvidia"),
    "v5e": ("libtpu",),
}


def prepare(target: str) -> None:
    """Tells XLA where its tools are; before anything runs on a device.

    Raises:
      ValueError: if the compiler for this target is not installed.
    """
    missing = [name for name in NEEDS[target] if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"target: got {target} without {' and '.join(missing)}, want on Linux "
            "pip install -e '.[compile]'"
        )
    if target == "cpu":
        return
    # A GPU or TPU that is here is not to be asked: what counts is the description.
    jax.config.update("jax_platforms", "cpu")
    # Or libtpu looks for a cloud in which this machine would be a TPU's host.
    os.environ["TPU_SKIP_MDS_QUERY"] = "1"
    os.environ["TPU_ACCELERATOR_TYPE"] = "v5litepod-4"
    if target == "h100":
        nvidia = importlib.util.find_spec("nvidia")
        assert nvidia is not None
        (folder, *_) = nvidia.submodule_search_locations or [""]
        flag = f"--xla_gpu_cuda_data_dir={Path(folder) / 'cu13'}"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()


def lowering(target: str) -> Any:
    """A context in which Pallas lowers kernels for a described TPU; after `prepare`."""
    if target != "v5e":
        return contextlib.nullcontext()
    mesh = jax.sharding.Mesh([device(target)], ("x",))
    return jax.sharding.use_abstract_mesh(mesh.abstract_mesh)


def device(target: str) -> Any:
    """One device of that kind, or its description; after `prepare`."""
    if target == "h100":
        described = topologies.get_topology_desc(
            platform="cuda", topology_name="", topology="1x1x1", target_config=_H100
        )
    elif target == "v5e":
        described = topologies.get_topology_desc(
            platform="tpu", topology_name="v5e:2x2"
        )
    else:
        return jax.devices("cpu")[0]
    return described.devices[0]
