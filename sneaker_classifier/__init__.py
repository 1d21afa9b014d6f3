__version__ = "0.1.0"

import os, warnings
from importlib import import_module

# ONNX Runtime reports to its maker from the moment it is imported, unless one of these is set before; which one depends on its version.
for _name in ('ORT_DISABLE_TELEMETRY', 'ORT_TELEMETRY_DISABLED'): os.environ[_name] = '1'

# fastai and timm call torch.jit.script while they load, and torch complains about it each time.
warnings.filterwarnings('ignore', '`torch.jit', FutureWarning)

# `teach` gives SneakerClassifier its method of that name.
_homes = dict(SneakerClassifier='teach', Prediction='predict', open_image='images', sanitize='images', safe_name='images',
    BadImage='images', load_settings='settings')
__all__ = list(_homes)


def __getattr__(name):
    "Import a public name when it is first used: `import sneaker_classifier` alone loads nothing."
    if name not in _homes: raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'.{_homes[name]}', __name__), name)
