__version__ = "0.0.1"

from importlib import import_module

_homes = dict(SneakerClassifier='predict', Prediction='predict', open_image='images', sanitize='images', safe_name='images',
    BadImage='images', load_settings='settings')
__all__ = list(_homes)


def __getattr__(name):
    "Import a public name when it is first used: `import sneaker_classifier` alone loads nothing."
    if name not in _homes: raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'.{_homes[name]}', __name__), name)
