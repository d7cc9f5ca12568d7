"""Programs as ONNX graphs, and the executors that run those: ONNX Runtime and OpenVINO."""
