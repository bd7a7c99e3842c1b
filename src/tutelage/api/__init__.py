"""Every command as a function that returns data, as ``tutelage.train``.

The arguments have the names of the flags. Nothing is printed unless ``show`` asks for it.
"""

import warnings

# Accelerate imports a progress bar that in a notebook asks for ipywidgets; nothing here uses it.
warnings.filterwarnings("ignore", message="IProgress not found")
