//! Texts become vectors: the model inside the binary, or one that ONNX Runtime runs.
