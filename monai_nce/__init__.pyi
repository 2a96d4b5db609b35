from monai_nce.python_api import Enhanced as Enhanced
from monai_nce.python_api import enhance as enhance

__version__: str
