"""Studies as they come become a data set on disk: ``python -m data_prep {phantom,ct,ixi,ixi-like,register}``."""
