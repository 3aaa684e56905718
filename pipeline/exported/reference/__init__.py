"""The code that lies in an export's folder: NumPy, Pillow, tokenizers and ONNX Runtime alone, nothing of Icebox."""
