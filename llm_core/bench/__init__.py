"""Speed and memory of models on this machine: contenders in processes of their own, in turn.

`python -m llm_core bench` and the scripts of `benchmarks/` drive it. A contender may run under
another Python, where packages are that this environment does not have.
"""
