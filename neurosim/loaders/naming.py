"""Layer names: short, unique, usable as YAML keys. From the weight's name, else the node's, else kind and number."""

from __future__ import annotations

import re

_WEIGHT = re.compile(r"^(.+?)[./_]+(?:weight|kernel|W|MatMul/ReadVariableOp|Conv2D/ReadVariableOp)(?:_quantized|:0)?$")
_AUTOMATIC = re.compile(r"^(?:node_)?(?:gemm|matmul|conv(?:2d|1d)?|linear|addmm|mm|add|sub|relu|averagepool|maxpool|globalaveragepool|"
                        r"reducemean|avg_pool\w*|max_pool\w*|mean|val)?_?\d*$", re.IGNORECASE)


def label_of(weight_name: str, node_name: str) -> str:
    """Readable stem of a layer name, or "" where neither name says anything."""
    match = _WEIGHT.match(weight_name)
    if match:
        return _tidy(match.group(1))
    parts = [p for p in node_name.split("/") if p]
    if len(parts) > 1:
        return _tidy(parts[-2])
    return "" if not parts or _AUTOMATIC.match(parts[0]) else _tidy(parts[0])


def _tidy(text: str) -> str:
    text = re.sub(r"[^A-Za-z0-9_.-]+", "_", text.split("/")[-1]).strip("_.-")
    return "" if re.fullmatch(r"[\d.]*", text) else text[-40:]


def unique_names(wanted: list[tuple[str, str]]) -> list[str]:
    """Names for (label, kind) pairs: the label, else ``kind1``, ``kind2`` ..; repeated labels get ``_2``, ``_3``.

    >>> unique_names([("", "conv"), ("", "conv"), ("head", "fc"), ("head", "fc")])
    ['conv1', 'conv2', 'head', 'head_2']
    """
    taken = {"input"} | {label for label, _ in wanted if label}
    given = {"input"}
    n_of_kind: dict[str, int] = {}
    names: list[str] = []
    for label, kind in wanted:
        name = label
        if not label:
            n_of_kind[kind] = n_of_kind.get(kind, 0) + 1
            while (name := f"{kind}{n_of_kind[kind]}") in taken | given:
                n_of_kind[kind] += 1
        stem, n = name, 1
        while name in given or (n > 1 and name in taken):
            n += 1
            name = f"{stem}_{n}"
        given.add(name)
        names.append(name)
    return names
