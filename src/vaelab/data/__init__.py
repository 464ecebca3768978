"""Data sets as whole batches of tensors, with a `DataSpec` that says what one example is.

Data sets are named by their module (`vaelab.data.images.digits.Digits`), so that importing one does not import the
dependencies of the others.
"""
