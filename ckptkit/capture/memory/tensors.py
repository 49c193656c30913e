"""Tensors of torch in the encoding of this package."""

import sys
from collections.abc import Mapping
from typing import Any

from ckptkit.capture.memory import arrays
from ckptkit.capture.memory.encoder import Column, Encoder, UnsupportedError, Writer


def _tensor(encoder: Encoder, value: Any) -> None:  # noqa: ANN401 - torch.Tensor
    torch = sys.modules["torch"]
    sparse = (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)
    if value.device.type == "meta" or value.is_nested or value.layout not in {torch.strided, *sparse}:
        nested = "nested " if value.is_nested else ""
        raise UnsupportedError(f"a {nested}tensor of {value.layout}, on {value.device}, is not hashed")
    value = value.detach()
    if value.layout != torch.strided:
        _sparse(encoder, value.to_sparse().coalesce())
        return
    encoder.text("tensor", str(value.dtype))
    encoder.count(value.ndim, *value.shape)
    if value.is_quantized:
        _content(encoder, value.int_repr())
        _scale(encoder, value)
    else:
        _content(encoder, value)


def _content(encoder: Encoder, value: Any) -> None:  # noqa: ANN401 - as _tensor
    torch = sys.modules["torch"]
    for block in arrays.blocks(value):
        if block.nbytes:
            flat = block.resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
            encoder.content(memoryview(flat.view(torch.uint8).numpy()))


def _scale(encoder: Encoder, value: Any) -> None:  # noqa: ANN401 - as _tensor
    scheme = str(value.qscheme())
    encoder.text(scheme)
    if "channel" in scheme:
        encoder.value(value.q_per_channel_scales(), value.q_per_channel_zero_points(), value.q_per_channel_axis())
    else:
        encoder.value(value.q_scale(), value.q_zero_point())


def _sparse(encoder: Encoder, value: Any) -> None:  # noqa: ANN401 - a coalesced tensor, whose order is C's
    torch = sys.modules["torch"]
    encoder.text("sparse tensor")
    encoder.count(value.ndim, *value.shape, value.sparse_dim())
    values, places = value.values().resolve_conj().resolve_neg().contiguous(), value.indices()
    kept = (values[:, None].flatten(1).view(torch.uint8) != 0).any(dim=1)
    axes = [Column(encoder, "torch.int64") for _ in places]
    entries = Column(encoder, str(value.dtype), [(str(axis), each) for axis, each in enumerate(axes)])
    for column, each in zip((entries, *axes), (values, *places), strict=True):
        column.rows = int(kept.sum())
        _content(column.values, each[kept])
    encoder.column(entries)


def _dataset(encoder: Encoder, value: Any) -> None:  # noqa: ANN401 - torch.utils.data.TensorDataset
    encoder.text("torch.TensorDataset")
    encoder.value(tuple(value.tensors))


WRITERS: Mapping[str, Writer] = {
    **dict.fromkeys(["torch.Tensor", "torch.Parameter"], _tensor),
    "torch.TensorDataset": _dataset,
}
