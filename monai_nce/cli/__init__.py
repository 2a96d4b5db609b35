"""Command line ``nce``: a thin layer over the bundle's workflows."""
