"""An OpenAI-compatible HTTP server for the models of this machine: `python -m llm_core serve`."""
