"""Studies as they come become a data set on disk: ``python -m data_prep {phantom,ct,ixi,ixi-like,register}``.

A wheel, and an editable install, have it as ``monai_nce.prep``.
"""
