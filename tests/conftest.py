"Drawn photos, and a small model trained on them by the command that people use"
import os, subprocess, sys
from pathlib import Path

import pytest

from sneaker_classifier.samples import make_samples

root = Path(__file__).resolve().parent.parent


def command(name, *args, cwd=root, ok=True):
    "Run a console command as a person would; `ok` is whether it should succeed"
    exe = Path(sys.executable).with_name(f'sneaker-{name}')
    # Progress bars and accents must survive a console of any encoding.
    env = dict(os.environ, PYTHONIOENCODING='utf-8')
    done = subprocess.run([exe, *map(str, args)], cwd=cwd, env=env, capture_output=True, text=True, encoding='utf-8')
    assert (done.returncode==0)==ok, f'{done.args} ended with {done.returncode}\n{done.stdout}\n{done.stderr}'
    assert 'Traceback' not in done.stderr, done.stderr
    return done


@pytest.fixture(scope='session')
def photos(tmp_path_factory):
    "Twenty drawings of each of the four classes, and two files that are no pictures"
    path = make_samples(tmp_path_factory.mktemp('photos'), n=20, size=64)
    (path/'puma_suede'/'notes.jpg').write_text('buy new laces')
    (path/'puma_suede'/'empty.png').touch()
    return path


@pytest.fixture(scope='session')
def quick_settings(tmp_path_factory):
    "The project's settings with a small network and a few short epochs"
    text = (root/'settings.ini').read_text(encoding='utf-8')
    for old,new in [('= resnet34','= tf_efficientnet_lite0'), ('start = sneakers','start = imagenet'), ('epochs = 10','epochs = 16'),
        ('detail = 140','detail = 64'), ('\nsize = 160','\nsize = 64'), ('predict_size = 208','predict_size = 64'), ('batch_size = 32','batch_size = 8'), ('= 0.002','= 0.01')]:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path_factory.mktemp('settings')/'settings.ini'
    path.write_text(text, encoding='utf-8')
    return path


@pytest.fixture(scope='session')
def trained(photos, quick_settings, tmp_path_factory):
    "A model folder, and what sneaker-train said while making it"
    out = tmp_path_factory.mktemp('models')/'mine'
    return out, command('train', '--data', photos, '--out', out, '--settings', quick_settings)
