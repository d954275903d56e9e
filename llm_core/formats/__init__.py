"""Model files: GGUF and safetensors, read and written without running anything in them."""
