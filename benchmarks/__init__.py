"""How good, how fast and how large: measurements behind ``docs/benchmarks.md``.

``python -m benchmarks`` runs what is not measured yet and writes the page; see ``benchmarks/README.md``.
"""
