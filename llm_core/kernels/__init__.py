"""The decode kernel: C++ over exactly the quantised weights a file stores, called with ctypes.

`src/` is compiled once into a private cache folder (`build`), `library` loads it, `pack` lays
the weights out for it, and `backend` is what the engine sees.
"""
