"""The table of ONNX operators: how each one is treated. Refusal texts and the README table come from here.

=================  ==========================================================================
treatment          meaning
=================  ==========================================================================
synapses           a layer and the linear map into it
activation         part of a neuron's f (before the first weights: encoder; after the last: decoder)
absorbed           into weights, bias or f where exact (encoder, decoder likewise)
index map          no neurons, no events, no counts
host               only in the encoder or decoder, in numpy
constant           only where all operands are constants; evaluated while loading
=================  ==========================================================================
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Treatment:
    """How an operator is treated, and the limits of that."""

    kind: str
    note: str = ""


def _table(kind: str, **notes: str) -> dict[str, Treatment]:
    return {op: Treatment(kind, note) for op, note in notes.items()}


OPERATORS: dict[str, Treatment] = {
    **_table("synapses",
             Conv="1-D and 2-D, stride, pads, dilation, groups, auto_pad", Gemm="one constant operand", MatMul="one constant operand",
             LSTM="one timestep, forward; its state an input and an output of the model", GRU="as LSTM, linear_before_reset 1",
             RNN="as LSTM, Tanh",
             QLinearConv="constant weights", QLinearMatMul="constant weights", QGemm="of com.microsoft; constant weights",
             MaxPool="without indices", AveragePool="", GlobalAveragePool="", GlobalMaxPool="",
             ReduceMean="over spatial axes or before weights; otherwise decoder",
             ReduceMax="as ReduceMean", ReduceSum="as ReduceMean"),
    **_table("activation",
             Relu="", LeakyRelu="", PRelu="constant slope", Elu="", Tanh="", Sigmoid="", Clip="constant bounds", HardSigmoid="",
             HardSwish="", Softplus="", Swish="alpha 1; also as x * Sigmoid(x)", Min="with constants", Max="with constants"),
    **_table("absorbed",
             BatchNormalization="inference mode", Add="a constant, or a branch of equal shape", Sub="as Add", Sum="as Add",
             QuantizeLinear="per tensor, 8 and 16 bit; whole numbers where they do",
             Mul="a constant, or x * Sigmoid(x)", Div="by a constant", Neg=""),
    **_table("index map",
             Reshape="", Flatten="", Transpose="", Squeeze="", Unsqueeze="", Concat="", Slice="", Split="", Pad="with zeros",
             Gather="constant indices", Identity="", Dropout="inference mode", Expand="to the same elements",
             DepthToSpace="", SpaceToDepth="", Cast="between float16, float32 and float64; to integers in the decoder"),
    **_table("host",
             Abs="", Exp="", Log="", Sqrt="", Pow="", Softmax="", LogSoftmax="", ArgMax="first index on ties", ReduceMin="",
             ReduceLogSumExp="", GatherElements="constant indices"),
    **_table("constant",
             Constant="", ConstantOfShape="", Shape="", Size="", Range="", Tile="", Where="", Equal="", Floor="", Ceil="", ReduceProd="",
             DequantizeLinear="weights stored as integers become float weights; of values as QuantizeLinear"),
}
"""Operator of the default ONNX domain -> treatment."""

RECIPES: dict[str, str] = {
    "Loop": "export with fixed length and without control flow (Keras GRU/LSTM: unroll=True)",
    "Scan": "export with fixed length and without control flow",
    "If": "export with the condition fixed (torch: trace the eval() branch, or simplify with onnxslim)",
    "ConvTranspose": "transposed convolutions are not supported; Conv is",
    "MatMulInteger": "quantise statically (QLinearMatMul, or QuantizeLinear and DequantizeLinear)",
    "ConvInteger": "quantise statically (QLinearConv, or QuantizeLinear and DequantizeLinear)",
    "DynamicQuantizeLinear": "scales that depend on the values are not supported; quantise statically",
    "LayerNormalization": "normalisation over live values is a product of activations; BatchNormalization in inference mode is supported",
    "InstanceNormalization": "normalisation over live values is a product of activations; use BatchNormalization",
    "GroupNormalization": "normalisation over live values is a product of activations; use BatchNormalization",
    "Attention": "products of activations (attention) are not supported",
    "Selu": "use Elu, Relu or Tanh", "Celu": "use Elu", "Gelu": "use HardSwish or x * Sigmoid(x)", "Erf": "GELU: use x * Sigmoid(x)",
    "Mish": "use x * Sigmoid(x)", "ThresholdedRelu": "use Relu", "Resize": "use a convolution or pooling with stride",
    "RandomNormal": "export the deterministic action (no sampling in the graph)",
    "RandomNormalLike": "export the deterministic action (no sampling in the graph)",
    "Multinomial": "export the logits (no sampling in the graph)",
}
"""Operators that are refused, with what helps."""


def advice(op: str) -> str:
    """What would help for an operator that is not in the table: its recipe, or the nearest supported names."""
    import difflib

    if op in RECIPES:
        return RECIPES[op]
    near = difflib.get_close_matches(op, OPERATORS, n=3, cutoff=0.6)
    return f"nearest supported: {', '.join(near)}" if near else "see the operator table in the README for what is supported"


def operator_table(results: dict[str, tuple[int, int]] | None = None) -> list[str]:
    """Markdown rows of the support table.

    Parameters
    ----------
    results : dict, optional
        Operator -> (ONNX backend node tests that pass, tests of that operator).
    """
    rows = ["| operator | treated as | limits |" + (" ONNX node tests |" if results is not None else ""),
            "|---|---|---|" + ("---|" if results is not None else "")]
    for op in sorted(OPERATORS):
        t = OPERATORS[op]
        row = f"| {op} | {t.kind} | {t.note} |"
        if results is not None:
            passed, total = results.get(op, (0, 0))
            row += f" {passed} of {total} |"
        rows.append(row)
    return rows
