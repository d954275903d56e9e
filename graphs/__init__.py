"""LangGraph graphs, their state and wiring, and the commands that run them."""
