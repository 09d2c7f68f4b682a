"""The flags of export (export.py)."""

from __future__ import annotations

from accel_yolo.config.flag import Flag, input_size, run_folder, spoken, switch, unsupported, value

_WHAT, _HOW, _NMS, _OUTPUT = "model and formats", "how it is written", "suppression in the graph", "output"

_TENSORFLOW = "TensorFlow formats are not written: give --include onnx, which its converters read"
NOT_WRITTEN = {
    "engine": "TensorRT engines fit one GPU only: give --include onnx, then run trtexec --onnx=<file>.onnx",
    "coreml": "Core ML is not written: give --include torchscript, which coremltools reads on a Mac",
    "saved_model": _TENSORFLOW,
    "pb": _TENSORFLOW,
    "tflite": _TENSORFLOW,
    "edgetpu": _TENSORFLOW,
    "tfjs": "TensorFlow.js is not written: give --include onnx, which onnxruntime-web runs in browsers",
    "ncnn": "NCNN is not written: give --include torchscript, which pnnx reads, and check what comes of it",
    "paddle": "PaddlePaddle is not written: give --include onnx, which x2paddle reads",
}
"""Formats of the reference whose runtimes cannot check the file here, and what to do instead."""

_INT8 = "no int8 is written: quantise the .onnx file with onnxruntime.quantization, or use --half"
_ENGINE = "belongs to TensorRT engines, which are not written: leave it out"
_KERAS = "belongs to TensorFlow formats, which are not written: leave it out"

EXPORT: tuple[Flag, ...] = (
    Flag(("--weights",), "weights, files or release names", "weights", _WHAT, nargs="+", metavar="FILE"),
    Flag(
        ("--include",),
        "what to write: torchscript, onnx, openvino",
        "include",
        _WHAT,
        nargs="+",
        refused=NOT_WRITTEN,
        metavar="FORMAT",
    ),
    value("--data", "data YAML whose validation images the file is checked on (default: drawn scenes)", _WHAT, "FILE"),
    input_size(_HOW),
    value("--batch|--batch-size", "images per batch", _HOW),
    switch("--dynamic", "take any batch and any size in whole strides (torchscript always does)", _HOW),
    switch("--half", "compute in float16 (OpenVINO: store the weights so)", _HOW),
    value("--opset", "version of the ONNX operators", _HOW),
    switch("--simplify", "simplify the ONNX graph with onnxslim", _HOW),
    value("--device", "where the model is traced and the file checked: cpu or the number of a GPU", _HOW),
    switch("--nms", "onnx, openvino: end the graph with non-maximum suppression", _NMS),
    switch("--agnostic-nms", "let boxes of different classes suppress each other", _NMS),
    value("--conf-thres|--conf", "least confidence of a detection", _NMS),
    value("--iou-thres|--iou", "overlap above which the weaker of two boxes is dropped", _NMS),
    value("--topk-per-class", "most detections per class (default 0: as many as per image)", _NMS),
    value("--topk-all|--max-det", "most detections per image", _NMS),
    Flag(("--inplace",), "accepted and ignored: nothing in the file works in place", "", _HOW, nargs=0),
    switch("--exist-ok", "replace files that exist", _OUTPUT),
    *spoken("let the exporters say what they do"),
    unsupported("--int8", _INT8),
    unsupported("--per-tensor", _INT8),
    unsupported("--keras", _KERAS),
    unsupported("--mlmodel", "belongs to Core ML, which is not written: leave it out"),
    unsupported("--optimize", "torch has given up its optimiser for phones: leave it out"),
    unsupported("--workspace", _ENGINE, None),
    unsupported("--cache", _ENGINE, None),
)

BENCHMARK: tuple[Flag, ...] = (
    value("--weights", "weights, a file or a release name", _WHAT, "FILE"),
    Flag(("--data",), "data YAML that is measured on", "data", _WHAT, nargs="+", metavar="FILE"),
    Flag(
        ("--include",),
        "formats to compare with torch (default: all)",
        "include",
        _WHAT,
        nargs="+",
        refused=NOT_WRITTEN,
        metavar="FORMAT",
    ),
    value("--imgsz|--img|--img-size", "side of the network input in pixels", _HOW),
    value("--batch|--batch-size", "images per batch", _HOW),
    switch("--half", "compute in float16", _HOW),
    value("--device", "cpu or the number of a GPU", _HOW),
    value("--workers", "data workers", _HOW),
    switch("--test", "export and check only, without measuring on the data", _HOW),
    switch("--pt-only", "measure the weights in torch only", _HOW),
    switch("--hard-fail", "stop at the first format that fails", _HOW),
    *run_folder("runs/benchmark"),
    *spoken(),
)
