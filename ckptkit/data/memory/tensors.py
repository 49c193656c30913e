"""Tensors of torch in the encoding of this package."""

import sys
from collections.abc import Mapping
from typing import Any

from ckptkit.data.memory import arrays
from ckptkit.data.memory.encoder import Encoder, UnsupportedError, Writer


def _tensor(encoder: Encoder, value: Any) -> None:  # noqa: ANN401 - torch.Tensor
    torch = sys.modules["torch"]
    if value.layout != torch.strided or value.is_quantized or value.is_nested or value.device.type == "meta":
        kind = "quantized" if value.is_quantized else "nested" if value.is_nested else value.layout
        raise UnsupportedError(f"tensors that are {kind}, on {value.device}, are not hashed")
    encoder.text("tensor", str(value.dtype))
    encoder.count(value.ndim, *value.shape)
    for block in arrays.blocks(value.detach()):
        if block.nbytes:
            flat = block.resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
            encoder.content(memoryview(flat.view(torch.uint8).numpy()))


def _dataset(encoder: Encoder, value: Any) -> None:  # noqa: ANN401 - torch.utils.data.TensorDataset
    encoder.text("torch.TensorDataset")
    encoder.value(tuple(value.tensors))


WRITERS: Mapping[str, Writer] = {
    **dict.fromkeys(["torch.Tensor", "torch.Parameter"], _tensor),
    "torch.TensorDataset": _dataset,
}
