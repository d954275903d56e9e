"""The commands of `python -m llm_core`, one file each; heavy imports wait until a command runs."""
